"""Prefix-Tuning through whole runs: where it can begin, and that packing, checkpointing and small bases do not change
what it learns."""

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.home import STARTER
from studio.library import adapter_store
from studio.methods import METHODS
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.tuners.prefix import prefix_layers
from studio.words import StudioError
from tests.training.runs import QUIET

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
pytestmark = pytest.mark.slow


def losses(runs, method=None, **more):
    return runs.losses(
        runs.start({"name": "prefix_tuning", **(method or {})}, max_steps=3, learning_rate=1e-2, **QUIET, **more)
    )


def close(one, other, limit):
    return sorted(one) == sorted(other) and all(abs(one[step] - other[step]) < limit for step in one)


def test_packing_and_checkpointing_change_no_loss(runs):
    plain = losses(runs)
    assert close(losses(runs, packing=True), plain, 1e-4)
    assert close(losses(runs, machine={"gradient_checkpointing": True}), plain, 1e-4)
    small = losses(runs, machine={"quantisation": "nf4"}, packing=True)
    assert close(small, losses(runs, machine={"quantisation": "nf4", "gradient_checkpointing": True}), 1e-3)


def test_with_a_network_it_resumes_on_the_same_curve(runs):
    method = {"name": "prefix_tuning", "start": "random", "width": 16}
    whole = runs.losses(runs.start(method, **QUIET))
    run = runs.start(method, stop_after=3, **QUIET)
    runs.resume(run)
    assert close(runs.losses(run), whole, 1e-5)


def test_a_prefix_is_initialised_from_a_trained_prefix(runs, tmp_path):
    """One of ours, and one that stock peft made: step 0 has its logits."""
    first = runs.start("prefix_tuning", max_steps=2, learning_rate=1e-2)
    torch.manual_seed(2)
    stock = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(STARTER),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=20),
    ).eval()
    stock.save_pretrained(tmp_path / "stock")
    adapter_store.add(
        runs.home,
        runs.store,
        source=tmp_path / "stock",
        name="stock",
        run_id="stock",
        card={"kind": "adapter", "base": "starter", "artefact_type": "PREFIX_TUNING"},
    )
    from studio.methods import Setting

    setting = Setting(adapter=lambda key: adapter_store.find(runs.home, runs.store, key)[0])
    for adapter in (first, "stock"):
        other = peft.PeftModel.from_pretrained(load_base(STARTER), str(runs.home.adapter(adapter))).eval()
        ours = METHODS["prefix_tuning"](start="adapter", adapter=adapter).wrap(load_base(STARTER), setting).eval()
        with torch.no_grad():
            assert (ours(IDS).logits - other(input_ids=IDS).logits).abs().max() < 1e-5
    assert runs.losses(runs.start({"name": "prefix_tuning", "start": "adapter", "adapter": first}, max_steps=2))[1] > 0
    with pytest.raises(StudioError, match="set Virtual tokens to 20"):
        METHODS["prefix_tuning"](start="adapter", adapter=first, virtual_tokens=7).wrap(load_base(STARTER), setting)
    with pytest.raises(StudioError, match="not in the library"):
        METHODS["prefix_tuning"](start="adapter", adapter="lost").wrap(load_base(STARTER), setting)


def test_a_prefix_is_initialised_from_a_text():
    text = "Answer like a captain of a ship would."
    model = METHODS["prefix_tuning"](start="text", text=text, virtual_tokens=6).wrap(load_base(STARTER)).eval()
    from studio.models.chat_tokenizer import ChatTokenizer

    read = torch.cat([torch.tensor([ChatTokenizer(STARTER).encode(text).ids[:6]]), IDS], 1)
    with torch.no_grad():
        assert (model(IDS).logits - load_base(STARTER)(read).logits[:, 6:]).abs().max() < 1e-4
    again = METHODS["prefix_tuning"](start="text", text="Aye.", virtual_tokens=9, reparameterise=True).wrap(
        load_base(STARTER)
    )
    assert len(prefix_layers(again)) == 5 and all(len(layer.pairs("default")) == 9 for layer in prefix_layers(again))


def test_unsupported_options_are_refused():
    shape = read_shape(STARTER)
    made = METHODS["prefix_tuning"]
    assert "Start text is empty" in str(made(start="text").refusal(shape, "chat", "none"))
    assert "No trained prefix" in str(made(start="adapter").refusal(shape, "chat", "none"))
    bare = shape.__class__(**{**vars(shape), "tensors": {"model.layers.0.strange.weight": (4, 4)}})
    assert "attention of" in str(made().refusal(bare, "chat", "none"))
    assert made().refusal(shape, "chat", "nf4") is None

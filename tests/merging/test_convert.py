"""Adapters turned into LoRA: exact where ΔW has a low rank, as close as the rank allows elsewhere, refused where a LoRA
cannot hold them; what stock peft makes of the result in a fresh process."""

import json

import pytest
import torch

from studio.home import STARTER
from studio.jobs.job import Job, Stopped
from studio.library import adapter_store
from studio.merging import convert as converting
from studio.merging import jobs, lora_delta
from studio.merging.convert import ConvertOptions
from studio.words import StudioError
from tests.merging.conftest import dense, lora
from tests.methods.stock_peft import stock_peft_logits


def put(home, store, folder, base, name="it", **card) -> str:
    """The adapter in `folder` in the library; returns its id."""
    facts = {"kind": "adapter", "base": str(base), "task": "chat", "method": "lora", "artefact_type": "LORA", **card}
    return adapter_store.add(home, store, source=folder, name=name, run_id=None, card=facts, adapter_id=name)


def run(home, store, kind, **payload) -> dict:
    function = {"blend": jobs.blend, "convert": jobs.convert, "switch": jobs.switch}[kind]
    return function(Job(store.job(store.queue_job(kind, payload)), store, home))


def converted(home, store, adapter, **options):
    """(folder, `made` of the card) of the preview."""
    preview = run(home, store, "convert", adapter=adapter, options=options)["preview"]
    folder, card, _ = adapter_store.find(home, store, preview)
    assert card["artefact_type"] == "LORA" and card["parents"][0] == {
        "id": adapter,
        "name": adapter,
        "relation": "converted",
    }
    return folder, card["made"]


@pytest.fixture
def short_answers(monkeypatch):
    """Random adapters never end an answer."""
    from studio.merging import fidelity

    monkeypatch.setattr(fidelity, "_ANSWER_TOKENS", 6)


@pytest.mark.usefixtures("short_answers")
@pytest.mark.parametrize("name", ["pattern", "rslora", "embedding"])
def test_a_lora_keeps_what_it_does(home, store, adapters, name):
    put(home, store, adapters / name, adapters / "base", name)
    folder, made = converted(home, store, name, rank=64, energy=100)
    wanted, got = dense(adapters / "base", adapters / name), dense(adapters / "base", folder)
    assert wanted.keys() == got.keys()
    for layer, delta in wanted.items():
        assert (got[layer] - delta).norm() < 1e-6 * delta.norm()
    assert made["error"] < 1e-6 and made["fidelity"]["same_answers"] == made["fidelity"]["questions"] == 8
    assert not made["fidelity"]["validation"] and made["fidelity"]["logit_error"] < 1e-4
    config = json.loads((folder / "adapter_config.json").read_text())
    sizes = {layer: rank for layer, rank, _ in made["layers"]}
    assert {config["rank_pattern"].get(layer, config["r"]) == rank for layer, rank in sizes.items()} == {True}


@pytest.mark.usefixtures("short_answers")
def test_a_lora_of_lower_rank_is_the_closest_and_its_error_is_what_is_said(home, store, adapters):
    put(home, store, adapters / "a", adapters / "base", "a")
    folder, made = converted(home, store, "a", rank=2, energy=100)
    wanted, got = dense(adapters / "base", adapters / "a"), dense(adapters / "base", folder)
    for layer, rank, error in made["layers"]:
        singular = torch.linalg.svdvals(wanted[layer])
        assert rank == 2 and abs(error - float(singular[2:].norm() / singular.norm())) < 1e-6
        assert abs(float((got[layer] - wanted[layer]).norm() / wanted[layer].norm()) - error) < 1e-5
    assert 0.05 < made["error"] < 0.95 and made["fidelity"]["logit_error"] > 0.05
    _, loose = converted(home, store, "a", rank=64, energy=60)
    assert {rank for _, rank, _ in loose["layers"]} < {1, 2, 3, 4} and loose["error"] ** 2 < 0.4


def test_the_job_stops_and_leaves_nothing(home, store, adapters):
    put(home, store, adapters / "a", adapters / "base", "a")
    job = Job(store.job(store.queue_job("convert", {"adapter": "a", "options": {}})), store, home)
    job.ask_to_stop()
    with pytest.raises(Stopped):
        jobs.convert(job)
    assert store.previews() == [] and list((home.root / "previews").iterdir()) == []


def test_all_prompts_of_peft_are_known_as_such():
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    import studio.tuners  # noqa: F401

    prompts = {
        str(kind.value) for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items() if issubclass(cls, PromptLearningConfig)
    }
    assert prompts == set(converting._PROMPTS)


@pytest.mark.usefixtures("short_answers")
@pytest.mark.parametrize(
    "name, method, sentence",
    [
        ("prompt", "prompt_tuning", "it changes the input, not the weights"),
        ("bias", "lora", "also trains biases"),
        ("head", "imported", "weights that are saved whole, such as lm_head"),
        ("unknown_prompt", "imported", "it changes the input, not the weights"),
        ("norm", "imported", "changes the weights of model.layers.0.input_layernorm, which a LoRA cannot hold"),
    ],
)
def test_what_a_lora_cannot_hold_is_refused_in_a_sentence(home, store, adapters, tmp_path, name, method, sentence):
    import peft
    from transformers import AutoModelForCausalLM

    from tests.chat.tiny_models import make_adapter

    base, folder = adapters / "base", tmp_path / name
    if name == "bias":
        folder = adapters / "bias"
    elif name == "head":
        lora(folder, base, 9, modules_to_save=["lm_head"])
    elif name == "norm":
        config = peft.LNTuningConfig(target_modules=["input_layernorm"], task_type="CAUSAL_LM")
        peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    else:
        make_adapter(base, folder, "prompt")
    put(home, store, folder, base, name, method=method)
    with pytest.raises(StudioError, match=sentence):
        converted(home, store, name)
    assert store.previews() == []


def test_a_head_for_classes_goes_along(home, store, tmp_path):
    """On the image starter, whose head peft saves whole."""
    import peft

    from studio.home import STARTER_VIT
    from studio.models.load import load_base

    labels = ["oak", "elm", "ash"]
    model = load_base(STARTER_VIT, head="image_classification", labels=labels)
    model = peft.get_peft_model(
        model, peft.LoHaConfig(r=2, target_modules=["q_proj"], modules_to_save=["classifier"], init_weights=False)
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name or "hada" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "leaves")
    put(home, store, tmp_path / "leaves", "starter-vit", "leaves", method="loha", task="image", labels=labels)
    _, made = converted(home, store, "leaves", rank=8, energy=100)
    fidelity = made["fidelity"]
    assert fidelity["pictures"] and fidelity["same_answers"] == fidelity["questions"] == 8
    assert fidelity["logit_error"] < 1e-4 and {rank for _, rank, _ in made["layers"]} == {4}  # r²


# method → (options, largest relative error of ΔW, of the logits' change) on the captain sample
STATED = {
    "lokr": ({"rank": 512, "energy": 99}, 0.1, 0.1),
    "loha": ({"rank": 64, "energy": 100}, 1e-6, 1e-4),  # rank r²
    "vera": ({"rank": 256, "energy": 100}, 1e-6, 1e-4),  # its own rank
    "dora": ({"rank": 512, "energy": 99}, 0.1, 0.1),
    "fourierft": ({"rank": 512, "energy": 99}, 0.1, 0.1),
    "delta_lora": ({"rank": 16, "energy": 100}, 1e-6, 1e-4),  # rank 2r
    "lora_drop": ({"rank": 8, "energy": 100}, 1e-6, 1e-4),
    "miss": ({"rank": 64, "energy": 100}, 1e-6, 1e-4),
}
SAMPLED = ("delta_lora", "lokr")  # in CI: an exact one and one by SVD


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    from tests.training.runs import Runs

    return Runs(tmp_path_factory.mktemp("home"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in SAMPLED else pytest.mark.full) for name in STATED]
)
def test_fine_tuned_adapters_as_stock_lora(runs, method, tmp_path):
    from studio.methods import METHODS
    from tests.methods.short_runs import LEARNING_RATE

    options, weights, logits = STATED[method]
    rate = LEARNING_RATE.get(method, 10 * METHODS[method].learning_rate)
    short = {"max_steps": 6, "evaluations": 1, "evaluation_rows": 4, "sample_prompts": 0, "save_steps": 100}
    adapter = runs.start(method, max_length=48, learning_rate=rate, **short)
    preview = run(runs.home, runs.store, "convert", adapter=adapter, options=options)["preview"]
    folder, card, _ = adapter_store.find(runs.home, runs.store, preview)
    made = card["made"]
    assert made["error"] <= weights and made["fidelity"]["logit_error"] <= logits
    assert made["fidelity"]["validation"] and made["fidelity"]["questions"] == 4
    assert made["fidelity"]["same_answers"] >= 3
    # a fresh process with stock peft alone
    ids = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
    told, wanted = stock_peft_logits(folder, ids), logits_of(runs.home.adapter(adapter), ids)
    assert (told - logits_of(folder, ids)).abs().max() < 1e-5
    change = (wanted - logits_of(None, ids)).norm()
    assert (told - wanted).norm() <= 3 * max(logits, 1e-4) * change


@torch.no_grad()
def logits_of(folder, ids) -> torch.Tensor:
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    model = load_base(STARTER, precision="fp32")
    return (apply_adapter(model, folder) if folder else model).eval()(input_ids=ids).logits.float()


def test_a_file_that_is_not_readable_is_named(tmp_path):
    with pytest.raises(StudioError, match="'x' has no readable adapter_config.json"):
        lora_delta.plain_refusal(tmp_path, "x")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(StudioError, match="'x' has no readable adapter_model.safetensors"):
        lora_delta.plain_refusal(tmp_path, "x")
    assert "whole model" in str(converting.refusal(tmp_path, {"kind": "model"}, "x"))
    assert ConvertOptions().energy < 100

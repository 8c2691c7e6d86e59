"""The strength of an adapter, exactly: 1 is the adapter, 0 the base, 0.5 of a LoRA a LoRA with half its alpha."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from studio.chat import generation
from studio.chat.adapter_scale import scale_refusal
from studio.chat.engine import AnswerOptions
from studio.chat.multi_adapter import MultiAdapterModel, adapter_kind
from studio.chat.sampling import Sampling
from studio.models.load import load_base
from studio.words import StudioError
from tests.chat.test_engine import LENGTH, QUESTION, ask, new_engine

SCALED = ("lora", "dora", "ia3")
IDS = torch.tensor([[5, 9, 2, 77, 31, 8]])


@pytest.fixture(scope="module")
def engine(adapter_home, models):
    return new_engine(adapter_home, models)


@pytest.fixture
def loaded(models):
    def load(*folders):
        model = MultiAdapterModel(load_base(models / "base"))
        for folder in folders:
            model.load(folder.name, folder, adapter_kind(folder.name, folder), set())
        return model

    return load


def logits_at(model, adapter, scale=1.0):
    model.activate(adapter, scale)
    return model.forward_logits(IDS)


@pytest.mark.parametrize("kind", SCALED)
def test_scale_one_is_the_adapter_and_none_of_it_stays(loaded, models, kind):
    model = loaded(models / kind)
    base, full = logits_at(model, None), logits_at(model, kind)
    half = logits_at(model, kind, 0.5)
    assert (logits_at(model, kind, 0.0) - base).abs().max() <= 1e-6
    assert (half - base).abs().max() > 1e-3 and (half - full).abs().max() > 1e-3
    assert torch.equal(logits_at(model, kind), full) and torch.equal(logits_at(model, None), base)
    assert (logits_at(model, kind, 1.5) - full).abs().max() > 1e-3


def half_alpha(folder, target):
    """The adapter with half its alpha."""
    shutil.copytree(folder, target)
    config = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] / 2}))
    return target


def test_half_of_a_lora_is_a_lora_with_half_its_alpha(loaded, models, tmp_path):
    model = loaded(models / "lora", half_alpha(models / "lora", tmp_path / "half"))
    assert torch.equal(logits_at(model, "lora", 0.5), logits_at(model, "half"))


def test_half_of_a_dora_is_half_of_its_change_of_each_weight(loaded, models):
    """By its definition on the weights: W + (W' − W) / 2 in place of each weight."""
    model = loaded(models / "dora")
    scaled = logits_at(model, "dora", 0.5)
    model.unload()
    plain = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    model = loaded(models / "dora")
    merged = model._groups[model.injected].merge_and_unload().state_dict()
    other = load_base(models / "base")
    other.load_state_dict({name: (plain[name] + merged[name]) / 2 for name in plain})
    with torch.no_grad():
        assert (other(IDS).logits - scaled).abs().max() <= 1e-4


def answer(engine, who, scale):
    pieces = []
    engine.chat(
        who, QUESTION, Sampling(max_tokens=LENGTH), pieces.append, lambda: False, AnswerOptions(adapter_scale=scale)
    )
    return "".join(pieces)


def test_strengths_do_not_disturb_each_other_in_a_batch(engine):
    from concurrent.futures import ThreadPoolExecutor

    asked = [("lora", 1.0), ("lora", 0.5), ("lora2", 0.5), ("lora", 2.0), (None, 1.0), ("lora", 0.0), ("dora", 0.5)]
    alone = [answer(engine, *each) for each in asked]
    assert alone[5] == alone[4] == ask(engine, "base")[0] and alone[0] == ask(engine, "lora")[0]
    assert len(set(alone)) == len(asked) - 1
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(lambda each: answer(engine, *each), asked)) == alone


def test_mixed_rows_of_an_embedding_have_their_own_strength(loaded, models, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    config = peft.LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM")
    made = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(models / "base"), config)
    for name, parameter in made.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    made.save_pretrained(tmp_path / "embedded")
    model = loaded(tmp_path / "embedded", models / "lora")
    rows = [(None, 1.0), ("embedded", 0.5), ("embedded", 1.0), ("lora", 0.5)]
    alone = [logits_at(model, *row)[0] for row in rows]
    model.activate_rows(rows)
    with torch.no_grad():
        together = model.model(IDS.expand(len(rows), -1)).logits
    for own, row in zip(alone, together, strict=True):
        assert (own - row).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["prompt", "prefix", "ensemble", "bias", "whole"])
def test_what_has_no_strength_says_why(engine, models, kind):
    with pytest.raises(StudioError, match="cannot be set"):
        answer(engine, kind, 0.5)
    assert answer(engine, kind, 1.0)
    card = {"kind": "model"} if kind == "whole" else {}
    assert scale_refusal(models / kind, card) and not scale_refusal(models / "lora", {})


def test_modules_saved_whole_have_no_strength(models, tmp_path):
    config = json.loads((models / "lora" / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "modules_to_save": ["lm_head"]}))
    assert "as a whole" in str(scale_refusal(tmp_path, {}))


def test_the_base_has_no_strength(engine):
    with pytest.raises(StudioError, match="base model has no adapter"):
        answer(engine, None, 0.5)


def test_scaled_answers_come_with_cache_as_without(engine, models, loaded):
    """Layers whose output is interpolated leave the cache of keys and values right."""
    text = answer(engine, "dora", 0.5)
    tokenizer, model = engine.tokenizer, loaded(models / "dora")
    ids = generation.prompt_ids(tokenizer, QUESTION)
    model.activate("dora", 0.5)
    for _ in range(8):
        ids = [*ids, int(model.forward_logits(torch.tensor([ids]))[0, -1].argmax())]
    assert text.startswith(tokenizer.decode(ids[-8:])[:-1])

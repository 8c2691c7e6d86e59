"""GGUF files by the judgement of others: transformers and gguf read them back in the job, and llama.cpp runs them."""

from __future__ import annotations

import json

import pytest
import torch

from studio.export import gguf_write
from studio.export.source import Source
from studio.export.targets import TARGETS
from studio.library import adapter_store
from studio.models.chat_tokenizer import ChatTokenizer
from tests.export.conftest import run_export
from tests.export.llama_cpp import LlamaCpp
from tests.export.tiny_architectures import MODELS, make

PROMPTS = ("Hello there, who are you?", "  Two  spaces, 12 + 30 = 42\nand a line", "Ünïcode 船长 🏴")
TOKENS = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("architectures"), {}

    def folder(name: str):
        if name not in made:
            made[name] = make(name, root / name)
        return made[name]

    return folder


def whole(home, store, folder, adapter_id="whole"):
    """Put the model in `folder` in the library as a whole model."""
    card = {"kind": "model", "base": str(folder), "task": "chat", "method": "full", "summary": "full"}
    return adapter_store.add(home, store, source=folder, name=adapter_id, run_id=adapter_id, card=card)


def gguf_files(home, result):
    return sorted((home.exports / result["export"]).glob("*.gguf"))


def greedy(model, tokenizer, prompt):
    """(ids, log-probabilities) of transformers' greedy continuation."""
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=True).ids])
    found = model.generate(
        ids, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, output_logits=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    new = found.sequences[0, ids.shape[1] :]
    scores = torch.stack(found.logits).squeeze(1).log_softmax(-1)
    return new.tolist(), scores.gather(1, new[:, None]).squeeze(1).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_what_transformers_computes(name, folders, home, store, shared_reader):
    from studio.models.load import load_base

    folder = folders(name)
    result = run_export(home, store, whole(home, store, folder), "gguf", format="F32")
    assert result["proofs"][0]["difference"] <= 1e-4 and result["largest_tensor_error"] <= 1e-6
    (path,) = gguf_files(home, result)
    model, tokenizer, other = load_base(folder, precision="fp32"), ChatTokenizer(folder), LlamaCpp(path)
    model.generation_config.eos_token_id = None
    for prompt in PROMPTS:
        same_tokens(greedy(model, tokenizer, prompt), other.complete(prompt, TOKENS))


def same_tokens(ours: tuple[list[int], list[float]], theirs: tuple[list[int], list[float]]) -> None:
    """llama.cpp's server lists the same tokens, as likely as ours, without those that are parts of a letter."""
    left = list(zip(*ours, strict=True))
    assert len(theirs[0]) >= TOKENS // 3
    for token, probability in zip(*theirs, strict=True):
        while left and (left[0][0] != token or abs(left[0][1] - probability) > 2e-2):
            left.pop(0)
        assert left, (ours, theirs)
        left.pop(0)


def make_lora(base, folder, **settings):
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", **({"r": 4, "target_modules": "all-linear"} | settings))
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    return folder


def add_lora(home, store, base, folder, adapter_id="lora"):
    card = {"kind": "adapter", "base": str(base), "task": "chat", "method": "lora", "artefact_type": "LORA"}
    return adapter_store.add(home, store, source=folder, name=adapter_id, run_id=adapter_id, card=card)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"use_rslora": True, "rank_pattern": {"k_proj": 2, "down_proj": 8}, "alpha_pattern": {"q_proj": 3}}),
        ("phi", {}),
        ("gemma3", {"target_modules": ["q_proj", "v_proj"]}),
    ],
)
def test_a_lora_alone_over_its_base_in_llama_cpp(name, settings, folders, home, store, shared_reader, tmp_path):
    from studio.export import live
    from studio.export.source import find_source

    base = folders(name)
    adapter = add_lora(home, store, base, make_lora(base, tmp_path / "lora", **settings))
    result = run_export(home, store, adapter, "gguf_lora", format="F32", base="F32")
    assert [proof["difference"] <= 1e-4 for proof in result["proofs"]] == [True, True]
    files = gguf_files(home, result)
    lora = next(path for path in files if "-lora-" in path.name)
    (whole_base,) = [path for path in files if path != lora]
    assert f"FROM ./{whole_base.name}\nADAPTER ./{lora.name}\n" in (lora.parent / "Modelfile").read_text()
    model, tokenizer = live.load(find_source(home, store, adapter)), ChatTokenizer(base)
    model.generation_config.eos_token_id = None
    other = LlamaCpp(whole_base, lora)
    for prompt in PROMPTS:
        same_tokens(greedy(model, tokenizer, prompt), other.complete(prompt, TOKENS))


@pytest.mark.parametrize("form", ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_each_format_rounds_no_more_than_it_says(form):
    import numpy as np

    tensor = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    tensor[0] *= 1e-3
    error = np.abs(gguf_write.rounded(tensor, form) - tensor).max() / np.abs(tensor).max()
    finer = {"F16": 0, "BF16": 2**-10, "Q8_0": 1e-3, "Q5_1": 0.01, "Q5_0": 0.02, "Q4_1": 0.02, "Q4_0": 0.04}[form]
    assert finer < error <= gguf_write.TENSOR_ERROR[form]


def test_what_llama_cpp_would_not_apply_is_refused_with_a_reason(folders, home, store, tmp_path):
    base = folders("llama")

    def refusal(**settings):
        folder = make_lora(base, tmp_path / str(len(list(tmp_path.iterdir()))), **settings)
        source = Source("x", "x", folder, {"base": str(base), "task": "chat", "method": "lora"})
        return str(TARGETS["gguf_lora"].refusal(source))

    assert refusal() == "None"
    assert "DoRA" in refusal(use_dora=True)
    assert "whole layers (embed_tokens)" in refusal(modules_to_save=["embed_tokens"])
    assert "lm_head.base_layer.weight, which is no plain LoRA" in refusal(target_modules=["lm_head", "q_proj"])
    assert "no plain LoRA matrix" in refusal(bias="lora_only", lora_bias=True)


def test_models_that_llama_cpp_has_other_numbers_for_are_refused(folders, tmp_path):
    config = json.loads((folders("gemma3") / "config.json").read_text())
    for change, words in (
        ({"query_pre_attn_scalar": 99}, "by 16, the base model by 99"),
        ({"layer_types": ["full_attention"] * 6}, "that Google released"),
        ({"architectures": ["GPT2LMHeadModel"]}, "this base model is GPT2LMHeadModel"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "by 'longrope'"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_bytes((folders("gemma3") / file).read_bytes())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        source = Source("x", "x", folder, {"kind": "model", "task": "chat", "base": str(folder)})
        assert words in str(TARGETS["gguf"].refusal(source))

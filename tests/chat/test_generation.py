"""Batched greedy generation gives the same answers as single prompts, and as uncached forward passes."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.chat import generation
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from tests.chat.tiny_models import make_model

CONVERSATIONS = [[{"role": "user", "content": "x" * size + "hello"}] for size in (0, 3, 7, 3, 0, 20, 31)]


def load(models, kind):
    model = AutoModelForCausalLM.from_pretrained(models / "base")
    return model if kind == "base" else peft.PeftModel.from_pretrained(model, models / kind)


def is_greedy(model, prompt, ids):
    """Whether each of `ids` is the most likely next token, by one forward pass without cache or padding."""
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
    return logits[-len(ids) - 1 : -1].argmax(-1).tolist() == ids


@pytest.mark.parametrize("kind", ["base", "lora", "dora", "ia3", "prompt", "p_tuning", "prefix"])
def test_batched_single_and_uncached_generation_agree(models, kind):
    model, tokenizer = load(models, kind), ChatTokenizer(models / "base")
    together = generation.generate_answers(model, tokenizer, CONVERSATIONS, 10, batch_size=4)
    assert together == [generation.generate_answers(model, tokenizer, [one], 10)[0] for one in CONVERSATIONS]
    for messages in CONVERSATIONS:
        prompt = generation.prompt_ids(tokenizer, messages)
        assert is_greedy(
            model, prompt, generation._generate(model, tokenizer, [prompt], generation.chat_stop(tokenizer), 10)[0]
        )
    assert len(set(together)) > 2


def test_train_and_eval_modes_are_restored(models):
    model = load(models, "lora").train()
    frozen = model.get_submodule("base_model.model.model.norm").eval()
    generation.generate_answers(model, ChatTokenizer(models / "base"), CONVERSATIONS[:1], 2)
    assert model.training and not frozen.training


def test_training_continues_after_generation(models):
    model = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(models / "base"), models / "lora", is_trainable=True
    ).train()
    generation.generate_answers(model, ChatTokenizer(models / "base"), CONVERSATIONS[:1], 2)
    ids = torch.tensor([[1, 2, 3, 4]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_nf4_still_trains_after_generation(models):
    pytest.importorskip("bitsandbytes")
    base = load_base(models / "base", quantisation="nf4")
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = True  # as loaded without load_base
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).train()
    generation.generate_answers(model, ChatTokenizer(models / "base"), CONVERSATIONS[:1], 2)
    ids = torch.tensor([[1, 2, 3, 4]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(float(p.grad.abs().max()) > 0 for name, p in model.named_parameters() if "lora_B" in name)


def test_an_answer_ends_where_the_template_ends_it(models):
    tokenizer = ChatTokenizer(models / "base")
    assert tokenizer.eos_ids == [256]
    assert generation.chat_stop(tokenizer).ids == [256, 258]  # <|im_end|>, which no generation_config names
    assert (
        generation.decode_answer(tokenizer, [*tokenizer.encode("hi").ids, 258, 5], generation.chat_stop(tokenizer))
        == "hi"
    )


def test_an_override_template_stops_at_its_end_text(tmp_path):
    tokenizer = ChatTokenizer(make_model(tmp_path / "bare", template=None))
    end = generation.chat_stop(tokenizer)
    assert end.text == "<|im_end|>"
    assert generation.decode_answer(tokenizer, tokenizer.encode("hi<|im_end|>\nmore").ids, end) == "hi"
    stop = generation.StopAtText(tokenizer, end.text, 2)
    ids = tokenizer.encode("<|im_end|>").ids
    assert stop(torch.tensor([[1, 2, *ids], [1, 2, *ids[:-1], 5]]), None).tolist() == [True, False]
    assert stop(torch.tensor([ids]), None).tolist() == [False]  # in the prompt it does not stop


def test_a_full_context_gives_no_answer_and_does_not_shorten_others(models):
    model, tokenizer = load(models, "base"), ChatTokenizer(models / "base")
    long = [[{"role": "user", "content": "y" * size}] for size in (400, 225, 3)]
    got = generation.generate_answers(model, tokenizer, long, 20)
    assert got[0] == "" and got[2] == generation.generate_answers(model, tokenizer, long[2:], 20)[0]
    assert len(tokenizer.encode(got[2]).ids) >= 15 > 0 < len(got[1])


def test_generation_config_of_the_model_is_ignored(models):
    model, tokenizer = load(models, "base"), ChatTokenizer(models / "base")
    plain = generation.generate_answers(model, tokenizer, CONVERSATIONS[:2], 12)
    model.generation_config.repetition_penalty = 1.7
    assert generation.generate_answers(model, tokenizer, CONVERSATIONS[:2], 12) == plain

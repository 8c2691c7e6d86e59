"""What an adapter changed of an answer: log-probabilities of its tokens, held against plain forward passes."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.chat.comparison import answer_ids, token_texts
from studio.chat.generation import prompt_ids
from studio.words import StudioError
from tests.chat.test_engine import QUESTION, ask, new_engine


@pytest.fixture(scope="module")
def engine(adapter_home, models):
    return new_engine(adapter_home, models)


def expected(models, who, prompt, ids):
    model = AutoModelForCausalLM.from_pretrained(models / ("whole" if who == "whole" else "base"))
    if who not in ("base", "whole"):
        model = peft.PeftModel.from_pretrained(model, models / who)
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([prompt + ids])).logits[0, -len(ids) - 1 : -1].log_softmax(-1)
    return logprobs[range(len(ids)), ids].tolist()


@pytest.mark.parametrize("who", ["lora", "ia3", "prompt", "prefix", "whole"])
def test_log_probabilities_are_those_of_plain_forward_passes(engine, models, who):
    answer = ask(engine, who, max_tokens=12)[0].replace("\ufffd", "?")
    found = engine.compare(who, QUESTION, answer)
    prompt = prompt_ids(engine.tokenizer, QUESTION)
    ids = engine.tokenizer.encode(answer).ids
    assert "".join(token.text for token in found) == answer
    assert [token.logprob for token in found] == pytest.approx(expected(models, who, prompt, ids), abs=1e-4)
    assert [token.base_logprob for token in found] == pytest.approx(expected(models, "base", prompt, ids), abs=1e-4)
    assert ask(engine, "base")[0] == ask(engine, "base")[0]


def test_at_strength_zero_nothing_is_changed(engine):
    assert all(token.logprob == token.base_logprob for token in engine.compare("lora", QUESTION, "Well.", 0.0))


def test_of_a_text_the_continuation_is_compared(engine):
    assert "".join(token.text for token in engine.compare("lora", "Once upon", " a time")) == " a time"


def test_nothing_to_compare_is_refused(engine):
    with pytest.raises(StudioError, match="no answer"):
        engine.compare("lora", QUESTION, "")
    with pytest.raises(StudioError, match="tokens long"):
        engine.compare("lora", QUESTION, "long " * 100)


def test_characters_of_several_tokens_come_with_their_last(engine):
    _, ids = answer_ids(engine.tokenizer, "a", "é!", chat=True)
    assert token_texts(engine.tokenizer, ids) == ["", "é", "!"]

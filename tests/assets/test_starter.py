"""The starter is an ordinary small Qwen2 folder and answers validation questions as its card says."""

import json
import random
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
STARTER = Path(__file__).resolve().parents[2] / "assets" / "starter"


@pytest.fixture(scope="module")
def starter():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        STARTER
    )


@pytest.fixture(scope="module")
def make():
    """The script that made it (and its grammar), imported without leaving its module names behind."""
    known = set(sys.modules)
    sys.path.insert(0, str(STARTER))
    import make

    yield make
    sys.path.remove(str(STARTER))
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(STARTER)):
            del sys.modules[name]


def test_it_is_small():
    assert sum(path.stat().st_size for path in STARTER.iterdir() if path.is_file()) <= 16_000_000
    assert not list(STARTER.glob("*.bin")) + list(STARTER.glob("*.pt"))


def test_it_is_qwen2_with_biases(starter):
    model, _ = starter
    assert model.config.model_type == "qwen2" and model.config.tie_word_embeddings
    assert model.num_parameters() < 5_000_000
    attention = model.model.layers[0].self_attn
    assert all(layer.bias is not None for layer in (attention.q_proj, attention.k_proj, attention.v_proj))
    assert attention.o_proj.bias is None


def test_special_tokens_and_template(starter):
    model, tokenizer = starter
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert tokenizer.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    encoded = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    predictions = [token for token, mine in zip(encoded["input_ids"], encoded["assistant_masks"]) if mine]
    assert tokenizer.decode(predictions) == "Hello!<|im_end|>"


def test_both_loaders_tokenize_alike(starter):
    """AutoTokenizer uses Qwen's pre-tokenisation for Qwen2 folders, whatever tokenizer.json holds: the file has to
    agree.
    """
    from tokenizers import Tokenizer

    raw = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    for text in ['{"name": "Anna", "age": 34}', "It's 12+30 = 42.\n\nArr, matey!", "ÄÖ 你好  x"]:
        assert starter[1](text)["input_ids"] == raw.encode(text).ids


def test_training_weights_match_the_template(starter, make):
    _, tokenizer = starter
    chats = [doc for doc, _ in zip(make.documents(3), range(60)) if not isinstance(doc, str)]
    for chat in chats:
        ids, weights = make.encode(chat, tokenizer)
        encoded = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
        assert ids == encoded["input_ids"]
        assert [weight == 1.0 for weight in weights] == [bool(mine) for mine in encoded["assistant_masks"]]


def test_training_text_holds_no_validation_questions(make):
    tests = {chat[0]["content"] for chats in make.validation_set(10).values() for chat in chats if len(chat) == 2}
    for doc, _ in zip(make.documents(0), range(5000)):
        if not isinstance(doc, str):
            assert not tests & {message["content"] for message in doc}


def test_scores_are_reproduced(starter, make):
    scores = json.loads((STARTER / "scores.json").read_text())
    assert scores["finished"] and scores["validation_exact_match"] >= 0.9
    items = [chat for chats in make.validation_set(8).values() for chat in chats]
    chats = random.Random(1).sample(items, 60)
    predictions = make.generate_answers(*starter, [chat[:-1] for chat in chats])
    right = sum(text == chat[-1]["content"] for text, chat in zip(predictions, chats))
    assert right >= 54, f"{right} of 60 right, the card says {scores['validation_exact_match']:.1%}"

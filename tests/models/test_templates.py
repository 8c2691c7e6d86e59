"""Every lent template: what it writes, and that token view, training batch, chat prompt and transformers see the same, byte for byte."""

import json
import re
import shutil

import pytest
import torch
from transformers import AutoTokenizer

from studio.chat.answer import prompt_ids
from studio.data.reasoning import split_reasoning
from studio.home import STARTER, Home
from studio.models.codec import Codec
from studio.models.templates import FOLDER, OWN, TEMPLATES, template
from studio.recipe import Recipe
from studio.tasks import IGNORED
from studio.tasks.chat import Chat
from studio.training.batches import Collator, Examples
from studio.training.kinds.generation import Generation

LENT = [name for name in TEMPLATES if name != OWN]


def say(role, content, **more):
    return {"role": role, "content": content, **more}


SYSTEM, ASK, REPLY = say("system", "Be brief."), say("user", "Hi there"), say("assistant", "Hello")
TALKS = {
    "short": {"messages": [ASK, REPLY]},
    "system": {"messages": [SYSTEM, ASK, REPLY]},
    "long": {"messages": [SYSTEM, ASK, REPLY, say("user", "And Grüße, 世界 👋?"), say("assistant", "Fine,\nthanks.")]},
    "thoughts": {
        "messages": [
            ASK,
            say("assistant", "<think>\nfirst thought\n</think>\n\nHello"),
            say("user", "Again"),
            say("assistant", "<think>\nnew thought\n</think>\n\nHello again"),
        ]
    },
}
CALL = {
    "messages": [
        SYSTEM,
        ASK,
        say(
            "assistant",
            "",
            tool_calls=[{"type": "function", "function": {"name": "weather", "arguments": {"town": "Köln"}}}],
        ),
        say("tool", "9 degrees"),
        say("assistant", "Nine."),
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
}
WRITTEN = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n",
    "qwen3": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHello<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nHi there<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n",
    "mistral": "<s>[INST] Be brief.\n\nHi there[/INST] Hello</s>",
    "alpaca": "Be brief.\n\n### Instruction:\nHi there\n\n### Response:\nHello</s>\n\n",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The starter's tokenizer with the begin and end tokens that some templates write, and no template of its own."""
    folder = tmp_path_factory.mktemp("model")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        shutil.copyfile(STARTER / name, folder / name)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def test_every_template_has_its_file_and_expectation():
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(LENT) == set(WRITTEN)


@pytest.mark.parametrize("name", LENT)
def test_what_it_writes(model, name):
    assert Codec(model, name).render(TALKS["system"]["messages"]) == WRITTEN[name]


def records(name):
    return [*TALKS.values(), CALL] if name in ("chatml", "qwen3", "llama3", OWN) else list(TALKS.values())


@pytest.mark.parametrize("name", [*LENT, OWN])
def test_view_batch_prompt_and_transformers_agree(model, name):
    folder = STARTER if name == OWN else model
    codec, task, found = Codec(folder, name), Chat(), records(name)
    if name == OWN:  # the starter's own template knows neither tools nor thoughts
        found = [TALKS["short"], TALKS["system"], TALKS["long"]]
    stock = AutoTokenizer.from_pretrained(folder)
    for record in found:
        *earlier, encoded = task.encode(record, codec, 4096)
        shown = codec.decode(encoded.ids, keep_special=True)
        assert task.rendered(record, codec).endswith(shown) and bool(earlier) == (
            name == "qwen3" and record not in (TALKS["short"], TALKS["system"])
        )
        batch = Collator(codec.pad_id)([Examples([encoded])[0]])
        assert batch["input_ids"].tolist() == [encoded.ids] and batch["labels"].tolist() == [encoded.labels]
        given = {"chat_template": codec.template, "tools": record.get("tools"), "tokenize": False}
        assert stock.apply_chat_template(record["messages"], **given) == shown
        question = task.question(record)
        asked = prompt_ids(codec, question.messages, question.tools)
        assert stock.apply_chat_template(question.messages, add_generation_prompt=True, **given) == codec.decode(
            asked, keep_special=True
        )
        first = max(
            at for at, label in enumerate(encoded.labels) if label != IGNORED and encoded.labels[at - 1] == IGNORED
        )
        assert encoded.ids[:first] == asked  # what is learnt begins where the prompt of Chat ends
        answer = codec.decode([label for label in encoded.labels[first:] if label != IGNORED], keep_special=True)
        assert answer.strip().startswith((question.expected.strip(), "<think>"))


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_tools_are_offered_without_a_system_text_too(model, name):
    codec, record = Codec(model, name), {**CALL, "messages": CALL["messages"][1:]}
    assert re.search(
        r'"name": "weather", "parameters": .*Hi there.*Köln.*Nine', Chat().rendered(record, codec), re.DOTALL
    )
    assert not any(Chat().unseen(given, codec) for given in (record, CALL, *TALKS.values()))


def test_what_a_template_does_not_write_is_told(model):
    called = {"messages": [ASK, CALL["messages"][2]]}
    for name, record in (
        (OWN, CALL),
        (OWN, called),
        ("gemma", called),
        ("gemma", {**TALKS["short"], "tools": CALL["tools"]}),
    ):
        assert Chat().unseen(record, Codec(STARTER if name == OWN else model, name))
    assert not any(Chat().unseen(record, Codec(STARTER)) for record in TALKS.values())


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_a_call_is_hoped_for_as_the_model_says_it(model, name, tmp_path):
    class Job:
        home, run_id = Home(tmp_path), "1"

    kind, record = (
        Generation(Job, Recipe(model={"name": "starter", "template": name}), model),
        {"messages": CALL["messages"][:3], "tools": CALL["tools"]},
    )
    (encoded,) = Chat().encode(record, kind.codec, 4096)
    labelled = kind.codec.decode([label for label in encoded.labels if label != IGNORED])
    expected = kind.with_expected(Chat().question(record), record).expected
    labelled = split_reasoning(labelled)[1]  # Qwen3 writes an empty block of thoughts first
    assert (
        "Köln" in expected
        and labelled.strip().startswith(expected)
        and len(labelled.strip()) - len(expected) <= len("<|im_end|>")
    )
    assert kind.with_expected(Chat().question(CALL), CALL).expected == "Nine."


def test_packed_rows_hold_the_same_tokens(model):
    codec, task = Codec(model, "llama3"), Chat()
    encoded = [task.encode(record, codec, 4096)[0] for record in TALKS.values()]
    batch = Collator(codec.pad_id, packed=True)([Examples(encoded)[at] for at in range(len(encoded))])
    assert batch["input_ids"][0].tolist() == [token for item in encoded for token in item.ids]
    assert torch.equal(
        (batch["position_ids"][0] == 0).nonzero().flatten(),
        torch.tensor([0, *torch.tensor([len(item.ids) for item in encoded]).cumsum(0)[:-1]]),
    )


def test_thoughts_of_earlier_turns_are_left_out(model):
    text = Codec(model, "qwen3").render(TALKS["thoughts"]["messages"])
    assert (
        "first thought" not in text
        and "<think>\nnew thought\n</think>\n\nHello again" in text
        and "assistant\nHello<|im_end|>" in text
    )


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_tools_and_calls_are_rendered(model, name):
    text = Codec(model, name).render(CALL["messages"], tools=CALL["tools"])
    assert (
        '"parameters": {"type": "object"}' in text
        and '"name": "weather"' in text
        and '{"town": "Köln"}' in text
        and "9 degrees" in text
    )
    assert (
        re.search(r"Be brief\..*weather.*Hi there.*Köln.*9 degrees.*Nine", text, re.DOTALL)
        and text.count("Be brief.") == 1
    )


def test_an_adapter_brings_its_template_along(model, tmp_path):
    codec = Codec(model)
    assert (
        codec.template == template("chatml")
        and codec.own_template is None
        and codec.for_adapter(tmp_path) is codec
        and codec.for_adapter(None) is codec
    )
    (tmp_path / "chat_template.jinja").write_text(template("gemma"), encoding="utf-8")
    assert codec.render([ASK]) == "<|im_start|>user\nHi there<|im_end|>\n"
    assert codec.for_adapter(tmp_path).render(
        [ASK]
    ) == "<s><start_of_turn>user\nHi there<end_of_turn>\n" and codec.template == template("chatml")

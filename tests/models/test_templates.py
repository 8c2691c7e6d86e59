"""Every built-in template: its output, and that token view, training batch, chat prompt and transformers agree on it
byte for byte.
"""

import json
import re
import shutil

import pytest
import torch
from transformers import AutoTokenizer

from studio.chat.generation import prompt_ids
from studio.data.reasoning import split_reasoning
from studio.home import STARTER, Home
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.templates import FOLDER, OWN, TEMPLATES, template
from studio.recipe import Recipe
from studio.tasks import IGNORED
from studio.tasks.chat import Chat
from studio.training.batches import Collator, Examples
from studio.training.kinds.generation import Generation

OVERRIDES = [name for name in TEMPLATES if name != OWN]


def message(role, content, **more):
    return {"role": role, "content": content, **more}


SYSTEM, ASK, REPLY = message("system", "Be brief."), message("user", "Hi there"), message("assistant", "Hello")
CONVERSATIONS = {
    "short": {"messages": [ASK, REPLY]},
    "system": {"messages": [SYSTEM, ASK, REPLY]},
    "long": {
        "messages": [SYSTEM, ASK, REPLY, message("user", "And Grüße, 世界 👋?"), message("assistant", "Fine,\nthanks.")]
    },
    "reasoning": {
        "messages": [
            ASK,
            message("assistant", "<think>\nfirst thought\n</think>\n\nHello"),
            message("user", "Again"),
            message("assistant", "<think>\nnew thought\n</think>\n\nHello again"),
        ]
    },
}
CALL = {
    "messages": [
        SYSTEM,
        ASK,
        message(
            "assistant",
            "",
            tool_calls=[{"type": "function", "function": {"name": "weather", "arguments": {"town": "Köln"}}}],
        ),
        message("tool", "9 degrees"),
        message("assistant", "Nine."),
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
}
EXPECTED = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi "
    "there<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n",
    "qwen3": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi "
    "there<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHello<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe "
    "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi "
    "there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>",
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
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(OVERRIDES) == set(EXPECTED)


@pytest.mark.parametrize("name", OVERRIDES)
def test_rendered_text(model, name):
    assert ChatTokenizer(model, name).render(CONVERSATIONS["system"]["messages"]) == EXPECTED[name]


def records(name):
    return (
        [*CONVERSATIONS.values(), CALL] if name in ("chatml", "qwen3", "llama3", OWN) else list(CONVERSATIONS.values())
    )


@pytest.mark.parametrize("name", [*OVERRIDES, OWN])
def test_view_batch_prompt_and_transformers_agree(model, name):
    folder = STARTER if name == OWN else model
    tokenizer, task, found = ChatTokenizer(folder, name), Chat(), records(name)
    if name == OWN:  # the starter's own template supports neither tools nor reasoning
        found = [CONVERSATIONS["short"], CONVERSATIONS["system"], CONVERSATIONS["long"]]
    stock = AutoTokenizer.from_pretrained(folder)
    for record in found:
        *earlier, encoded = task.encode(record, tokenizer, 4096)
        shown = tokenizer.decode(encoded.ids, keep_special_tokens=True)
        assert task.render(record, tokenizer).endswith(shown) and bool(earlier) == (
            name == "qwen3" and record not in (CONVERSATIONS["short"], CONVERSATIONS["system"])
        )
        batch = Collator(tokenizer.pad_id)([Examples([encoded])[0]])
        assert batch["input_ids"].tolist() == [encoded.ids] and batch["labels"].tolist() == [encoded.labels]
        given = {"chat_template": tokenizer.template, "tools": record.get("tools"), "tokenize": False}
        assert stock.apply_chat_template(record["messages"], **given) == shown
        question = task.question(record)
        asked = prompt_ids(tokenizer, question.messages, question.tools)
        assert stock.apply_chat_template(question.messages, add_generation_prompt=True, **given) == tokenizer.decode(
            asked, keep_special_tokens=True
        )
        first = max(
            at for at, label in enumerate(encoded.labels) if label != IGNORED and encoded.labels[at - 1] == IGNORED
        )
        assert encoded.ids[:first] == asked  # the labels begin where Chat's prompt ends
        answer = tokenizer.decode(
            [label for label in encoded.labels[first:] if label != IGNORED], keep_special_tokens=True
        )
        assert answer.strip().startswith((question.expected.strip(), "<think>"))


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_tools_are_offered_without_a_system_text_too(model, name):
    tokenizer, record = ChatTokenizer(model, name), {**CALL, "messages": CALL["messages"][1:]}
    assert re.search(
        r'"name": "weather", "parameters": .*Hi there.*Köln.*Nine', Chat().render(record, tokenizer), re.DOTALL
    )
    assert not any(Chat().drops_content(given, tokenizer) for given in (record, CALL, *CONVERSATIONS.values()))


def test_content_that_a_template_drops_is_reported(model):
    called = {"messages": [ASK, CALL["messages"][2]]}
    for name, record in (
        (OWN, CALL),
        (OWN, called),
        ("gemma", called),
        ("gemma", {**CONVERSATIONS["short"], "tools": CALL["tools"]}),
    ):
        assert Chat().drops_content(record, ChatTokenizer(STARTER if name == OWN else model, name))
    assert not any(Chat().drops_content(record, ChatTokenizer(STARTER)) for record in CONVERSATIONS.values())


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_an_expected_call_is_written_as_the_model_writes_it(model, name, tmp_path):
    class Job:
        home, run_id = Home(tmp_path), "1"

    kind, record = (
        Generation(Job, Recipe(model={"name": "starter", "template": name}), model),
        {"messages": CALL["messages"][:3], "tools": CALL["tools"]},
    )
    (encoded,) = Chat().encode(record, kind.tokenizer, 4096)
    labelled = kind.tokenizer.decode([label for label in encoded.labels if label != IGNORED])
    expected = kind.with_expected(Chat().question(record), record).expected
    labelled = split_reasoning(labelled)[1]  # Qwen3 writes an empty reasoning block first
    assert (
        "Köln" in expected
        and labelled.strip().startswith(expected)
        and len(labelled.strip()) - len(expected) <= len("<|im_end|>")
    )
    assert kind.with_expected(Chat().question(CALL), CALL).expected == "Nine."


def test_packed_rows_hold_the_same_tokens(model):
    tokenizer, task = ChatTokenizer(model, "llama3"), Chat()
    encoded = [task.encode(record, tokenizer, 4096)[0] for record in CONVERSATIONS.values()]
    batch = Collator(tokenizer.pad_id, packed=True)([Examples(encoded)[at] for at in range(len(encoded))])
    assert batch["input_ids"][0].tolist() == [token for item in encoded for token in item.ids]
    assert torch.equal(
        (batch["position_ids"][0] == 0).nonzero().flatten(),
        torch.tensor([0, *torch.tensor([len(item.ids) for item in encoded]).cumsum(0)[:-1]]),
    )


def test_reasoning_of_earlier_turns_is_left_out(model):
    text = ChatTokenizer(model, "qwen3").render(CONVERSATIONS["reasoning"]["messages"])
    assert (
        "first thought" not in text
        and "<think>\nnew thought\n</think>\n\nHello again" in text
        and "assistant\nHello<|im_end|>" in text
    )


@pytest.mark.parametrize("name", ["chatml", "qwen3", "llama3"])
def test_tools_and_calls_are_rendered(model, name):
    text = ChatTokenizer(model, name).render(CALL["messages"], tools=CALL["tools"])
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


def test_an_adapter_keeps_its_template(model, tmp_path):
    tokenizer = ChatTokenizer(model)
    assert (
        tokenizer.template == template("chatml")
        and tokenizer.own_template is None
        and tokenizer.for_adapter(tmp_path) is tokenizer
        and tokenizer.for_adapter(None) is tokenizer
    )
    (tmp_path / "chat_template.jinja").write_text(template("gemma"), encoding="utf-8")
    assert tokenizer.render([ASK]) == "<|im_start|>user\nHi there<|im_end|>\n"
    assert tokenizer.for_adapter(tmp_path).render(
        [ASK]
    ) == "<s><start_of_turn>user\nHi there<end_of_turn>\n" and tokenizer.template == template("chatml")

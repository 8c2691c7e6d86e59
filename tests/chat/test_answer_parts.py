"""Reasoning, content and tool calls are taken apart in the same way however the text is cut into pieces."""

import pytest

from studio.chat.answer_parts import AnswerParts, whole_message
from studio.chat.tool_calls import FORMATS

BY_NAME = {format.name: format for format in FORMATS}
TWO = [("f", {"a": 1, "b": "x\ny"}), ("g", {})]
WRITTEN = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": 1, "b": "x\\ny"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
    "xml": "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\nx\ny\n</parameter>\n</function>\n"
    "</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>",
    "llama": '{"name": "f", "parameters": {"a": 1, "b": "x\\ny"}}; {"name": "g", "parameters": {}}',
    "mistral": '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1, "b": "x\\ny"}}, {"name": "g", "arguments": {}}]',
    "mistral_named": '[TOOL_CALLS]f[ARGS]{"a": 1, "b": "x\\ny"}[TOOL_CALLS]g[ARGS]{}',
    "gemma": '<|tool_call>call:f{a:1,b:<|"|>x\ny<|"|>}<tool_call|><|tool_call>call:g{}<tool_call|>',
}


def parts_of(text, format=None, size=1):
    parts = AnswerParts(BY_NAME.get(format))
    deltas = [delta for at in range(0, len(text), size) for delta in parts.feed(text[at : at + size])]
    return whole_message(deltas + parts.finish())


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
@pytest.mark.parametrize("format", sorted(WRITTEN))
def test_calls(format, size):
    assert BY_NAME[format].read(WRITTEN[format]) == TWO
    message = parts_of(WRITTEN[format], format, size)
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["f", "g"]
    assert message["content"] is None and len({call["id"] for call in message["tool_calls"]}) == 2
    if format != "llama":  # where a call is the whole answer
        message = parts_of("Let me see.\n\n" + WRITTEN[format], format, size)
        assert message["content"] == "Let me see." and len(message["tool_calls"]) == 2
    thought = parts_of("<think>\nhm\n</think>\n\n" + WRITTEN[format], format, size)
    assert thought["reasoning_content"] == "hm" and len(thought["tool_calls"]) == 2


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "text", ["Hi there. ", "<b>bold</b>\n", "{no call", '{"name": 3}', "<tool_call>{torn", "[TOOL_CALLS][", "a < b", ""]
)
def test_what_is_no_call_is_content(text, size):
    for format in (None, *BY_NAME):
        assert parts_of(text, format, size) == {"role": "assistant", "content": text}, format


@pytest.mark.parametrize("size", [1, 2, 5, 10_000])
def test_reasoning(size):
    text = "<think>\nTwo and\n\ntwo </th.\n</think>\n\n  Four. "
    assert parts_of(text, None, size) == {
        "role": "assistant",
        "content": "Four. ",
        "reasoning_content": "Two and\n\ntwo </th.",
    }
    assert parts_of("<think>\nnever closed", None, size)["reasoning_content"] == "never closed"
    assert parts_of("<thin", None, size)["content"] == "<thin"

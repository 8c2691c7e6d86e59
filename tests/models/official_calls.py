"""Reads tool calls out of rendered text, one parser for each form that the official templates write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Calls = list[tuple[str, dict]]


def no_calls(text: str) -> Calls:
    """For a template that writes no calls."""
    return []


def _objects(text: str, mark: str) -> Iterator:
    """The JSON value behind each `mark`; a mark with none behind it, as in a tool description's example, is skipped."""
    for found in re.finditer(re.escape(mark), text):
        try:
            yield json.JSONDecoder().raw_decode(text, found.end())[0]
        except ValueError:
            continue


def json_calls(text: str) -> Calls:
    """`<tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>`: Qwen2.5, Qwen3, Granite 4."""
    return [(call["name"], call["arguments"]) for call in _objects(text, "<tool_call>\n")]


def xml_calls(text: str) -> Calls:
    """`<tool_call>\\n<function=…>\\n<parameter=…>\\n…`: Qwen3.5.

    The form has no types: arguments are the text that stands there.
    """
    parameter = re.compile(r"<parameter=([^>\n]+)>\n(.*?)\n</parameter>\n", re.DOTALL)
    found = re.findall(r"<tool_call>\n<function=([^>\n]+)>\n(.*?)</function>\n</tool_call>", text, re.DOTALL)
    # The text before the tools holds an example.
    return [(name, dict(parameter.findall(body))) for name, body in found if name != "example_function_name"]


def llama_calls(text: str) -> Calls:
    """`{"name": …, "parameters": {…}}` instead of an answer: Llama 3."""
    head = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    found = _objects(text if head in text else head + text, head)
    shape = {"name", "parameters"}
    return [(call["name"], call["parameters"]) for call in found if isinstance(call, dict) and call.keys() == shape]


def llama4_calls(text: str) -> Calls:
    """`<|python_start|>…<|python_end|>{"name": …, "parameters": {…}}{…}`, one behind the other: Llama 4."""
    calls, decoder = [], json.JSONDecoder()
    for mark in re.finditer(r"<\|python_end\|>", text):
        at = mark.end()
        while text.startswith("{", at):
            call, at = decoder.raw_decode(text, at)
            calls.append((call["name"], call["parameters"]))
    return calls


def mistral_calls(text: str) -> Calls:
    """`[TOOL_CALLS][{"name": …, "arguments": {…}, "id": …}]`: Mistral v0.3 (a blank behind the mark) and Nemo."""
    lists = [*_objects(text, "[TOOL_CALLS]"), *_objects(text, "[TOOL_CALLS] ")]
    return [(call["name"], call["arguments"]) for calls in lists if isinstance(calls, list) for call in calls]


def named_calls(text: str) -> Calls:
    """`[TOOL_CALLS]name[ARGS]{…}`, one behind the other: Ministral 3."""
    found = re.finditer(r"\[TOOL_CALLS\]([\w.-]+)\[ARGS\]", text)
    return [(mark[1], json.JSONDecoder().raw_decode(text, mark.end())[0]) for mark in found]


def harmony_calls(text: str) -> Calls:
    """` to=functions.…<|channel|>commentary json<|message|>{…}<|call|>`: GPT-OSS."""
    found = re.finditer(r" to=functions\.(\S+?)<\|channel\|>commentary json<\|message\|>", text)
    return [(mark[1], json.JSONDecoder().raw_decode(text, mark.end())[0]) for mark in found]


def pythonic_calls(text: str) -> Calls:
    """`<function_calls>name(argument="…", other=[1, 2])</function_calls>`, values in JSON, a line each: OLMo 3."""
    calls, decoder = [], json.JSONDecoder()
    for block in re.finditer(r"<function_calls>(?=\w)", text):
        at = block.end()
        while name := re.compile(r"\n?([\w.-]+)\(").match(text, at):
            at, arguments = name.end(), {}
            while argument := re.compile(r"(?:, )?(\w+)=").match(text, at):
                arguments[argument[1]], at = decoder.raw_decode(text, argument.end())
            calls.append((name[1], arguments))
            at += len(")")
    return calls

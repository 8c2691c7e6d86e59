"""Tool calls in the text of an answer, in the forms of the model families, and which form a chat template writes.

A template's form is found by rendering a call with it: the first format that reads this call back is the template's.
Knows nothing about models and HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from studio.data.reasoning import CLOSE, OPEN
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer

Calls = list[tuple[str, dict]]
"""(name of the tool, its arguments) of each call."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ToolCallFormat:
    """A form in which models write tool calls. read: text → its calls; raises ValueError where the text is none.

    openings: the texts with which a call begins; at_start: whether it can only be the whole answer. marks: special
    tokens that belong to it.
    """

    name: str
    read: Callable[[str], Calls]
    openings: tuple[str, ...]
    marks: tuple[str, ...] = ()
    at_start: bool = False


def _call(value, arguments: str = "arguments") -> tuple[str, dict]:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("no tool call")
    given = value.get(arguments) or {}
    given = json.loads(given) if isinstance(given, str) else given
    if not isinstance(given, dict):
        raise ValueError("the arguments are no object")
    return value["name"], given


def _hermes(text: str) -> Calls:
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen2.5, Qwen3, Granite 4. The last end mark may
    be missing.
    """
    return [_call(_DECODER.raw_decode(body.lstrip())[0]) for body in text.split("<tool_call>")[1:]]


def _xml(text: str) -> Calls:
    """`<tool_call><function=…><parameter=…>…</parameter></function></tool_call>`: Qwen3.5 and Qwen3-Coder.

    The form has no types: a value that is JSON other than a string is taken as such.
    """
    found = re.findall(r"<function=([^>\n]+)>(.*?)</function>", text, re.DOTALL)
    parameter = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
    return [(name, {key: _typed(value) for key, value in parameter.findall(body)}) for name, body in found]


def _typed(text: str):
    try:
        value = json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
    return text if isinstance(value, str) else value


def _llama(text: str) -> Calls:
    """`{"name": …, "parameters": {…}}` instead of an answer, several one after the other: Llama 3.1 to 4. Llama 4 puts
    what it says before them between marks.
    """
    text = text.rpartition("<|python_end|>")[2].strip().removeprefix("<|python_tag|>")
    calls, at = [], 0
    while rest := text[at:].lstrip(" \n\t;"):
        at = len(text) - len(rest)
        value, at = _DECODER.raw_decode(text, at)
        calls.append(_call(value, "parameters"))
    return calls


def _mistral(text: str) -> Calls:
    """`[TOOL_CALLS][{"name": …, "arguments": {…}}]`: Mistral v0.3 and Nemo."""
    body = text.partition("[TOOL_CALLS]")[2].lstrip()
    values = _DECODER.raw_decode(body)[0] if body else []
    return [_call(value) for value in (values if isinstance(values, list) else [values])]


def _mistral_named(text: str) -> Calls:
    """`[TOOL_CALLS]name[ARGS]{…}`: Mistral Small 3.1 and later, Ministral 3."""
    calls = []
    for body in text.split("[TOOL_CALLS]")[1:]:
        name, mark, arguments = body.partition("[ARGS]")
        if not mark:
            raise ValueError("no [ARGS]")
        calls.append(_call({"name": name.strip(), "arguments": _DECODER.raw_decode(arguments.lstrip())[0]}))
    return calls


_GEMMA_TOKEN = re.compile(r'<\|"\|>(.*?)<\|"\|>|([{}\[\],:])|([^{}\[\],:<]+)', re.DOTALL)


def _gemma(text: str) -> Calls:
    """`<|tool_call>call:name{key:<|"|>text<|"|>,other:[1,true]}<tool_call|>`: Gemma 4.

    Strings between `<|"|>` become JSON strings, and so do the bare keys; the rest is JSON.
    """

    def arguments(body: str) -> dict:
        tokens = [found.groups() for found in _GEMMA_TOKEN.finditer(body)]
        made = ""
        for at, (string, mark, bare) in enumerate(tokens):
            is_key = at + 1 < len(tokens) and tokens[at + 1][1] == ":"
            made += mark or (json.dumps(string) if string is not None else json.dumps(bare) if is_key else bare)
        return json.loads(made)

    found = re.findall(r"<\|tool_call>call:([\w.-]+)(\{.*?\})(?:<tool_call\|>|\Z)", text, re.DOTALL)
    return [(name, arguments(body)) for name, body in found]


_LLAMA_MARKS = ("<|python_tag|>", "<|python_start|>", "<|python_end|>")
FORMATS = (
    ToolCallFormat("hermes", _hermes, ("<tool_call>",), ("<tool_call>", "</tool_call>")),
    ToolCallFormat("xml", _xml, ("<tool_call>",), ("<tool_call>", "</tool_call>")),
    ToolCallFormat("llama", _llama, ("{", *_LLAMA_MARKS), _LLAMA_MARKS, at_start=True),
    ToolCallFormat("mistral", _mistral, ("[TOOL_CALLS]",), ("[TOOL_CALLS]",)),
    ToolCallFormat("mistral_named", _mistral_named, ("[TOOL_CALLS]",), ("[TOOL_CALLS]", "[ARGS]")),
    ToolCallFormat("gemma", _gemma, ("<|tool_call>",), ("<|tool_call>", "<tool_call|>", '<|"|>')),
)
_PROBE = "probe_of_a_tool"
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE,
        "description": "A tool",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}
_known: dict[tuple[str, str], ToolSupport] = {}  # (model folder, chat template) → what was found
_QUESTION = [{"role": "user", "content": "?"}]


@dataclass(frozen=True)
class ToolSupport:
    """What a chat template does with tools. offers: whether it writes those offered. format: how it writes a call,
    None where that is none of FORMATS. call_head: the text before the name of a called tool.
    """

    offers: bool
    format: ToolCallFormat | None
    call_head: str = ""

    def prefill(self, prompt: str, name: str = "") -> str:
        """The beginning of an answer to `prompt` that makes it a call: of the tool `name`, or of any."""
        closed = f"\n{CLOSE}\n\n" if prompt.rstrip().endswith(OPEN) else ""
        return closed + self.call_head + name


def tool_support(tokenizer: ChatTokenizer) -> ToolSupport:
    """What the tokenizer's chat template does with tools."""
    key = (str(tokenizer.folder), tokenizer.template)
    if key not in _known:
        _known[key] = _probe(tokenizer)
    return _known[key]


def _probe(tokenizer: ChatTokenizer) -> ToolSupport:
    arguments = {"text": "a"}
    call = {"type": "function", "id": "call00000", "function": {"name": _PROBE, "arguments": arguments}}
    try:
        prompt = tokenizer.render(_QUESTION, add_generation_prompt=True, tools=[_PROBE_TOOL])
        offers = _PROBE in prompt
        turns = [*_QUESTION, {"role": "assistant", "content": "", "tool_calls": [call]}]
        written = tokenizer.render(turns, tools=[_PROBE_TOOL])
    except ChatTemplateError:
        return ToolSupport(False, None)
    answer = written[len(prompt) :] if written.startswith(prompt) else written[written.rfind(_PROBE) - 200 :]
    for format in FORMATS:
        start = min((at for opening in format.openings if (at := answer.find(opening)) >= 0), default=-1)
        if start < 0:
            continue
        body = answer[start:]
        for end in tokenizer.eos_texts + [tokenizer.answer_end[0]]:
            body = body.partition(end)[0] if end else body
        try:
            if format.read(body) == [(_PROBE, arguments)]:
                return ToolSupport(offers, format, body.partition(_PROBE)[0])
        except ValueError:
            continue
    return ToolSupport(offers, None)

"""Chat turns as people write them → [{"role", "content"}], with the order of the roles checked.

Takes OpenAI messages (role/content, tools and tool calls included) and ShareGPT turns (from/value). Raises `RowProblem`
whose sentence opens with the given place. Knows nothing about columns.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from studio.data.rows import RowProblem
from studio.words import Sentence

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user", "customer": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "ai": "assistant",
    "chatbot": "assistant", "bard": "assistant", "bing": "assistant", "claude": "assistant", "gemini": "assistant", "copilot": "assistant",
    "llama": "assistant", "mistral": "assistant", "gpt-3.5": "assistant", "gpt-4": "assistant", "gpt4": "assistant", "function_call": "assistant", "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
    "用户": "user", "助手": "assistant", "系统": "system",
}
"""What files call a speaker → what chat templates call them."""
_PLAIN = ("user", "assistant", "system", "tool")
_KEPT = ("tool_calls", "tool_call_id", "name")


def as_text(value: Any) -> str:
    """A cell as text: nested values as JSON, None as nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def unwrapped(value: Any) -> Any:
    """What an object holds that only wraps it: OpenAI's preferences have {"messages": […]}, SQuAD {"text": […]}, whose first answer it is."""
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return value["messages"]
        if isinstance(value.get("text"), list) and value.keys() <= {"text", "answer_start"}:
            return value["text"][0] if value["text"] else ""
    return value


_ITEM = r"""\s*(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?)\s*"""
_WRITTEN = re.compile(rf"\s*\[(?:{_ITEM}(?:,{_ITEM})*)?\]\s*")
"""A list of texts and numbers as Python writes it. Without its commas, as numpy writes it, it is none: Python would take 'a' 'b' for 'ab'."""


def as_list(value: Any) -> list | None:
    """A list, also where a table holds it as JSON text or as Python writes a list of texts and numbers; else None."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return _as_python(value)
        return found if isinstance(found, list) else None
    return None


def _as_python(text: str) -> list | None:
    if not _WRITTEN.fullmatch(text):
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # a backslash or a number that Python would not write
        return None


_SPEAKERS = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def transcript(text: str) -> list[dict] | None:
    """A conversation that is written as one text, "Human: … Assistant: …" with empty lines between, as hh-rlhf is; None where it is none."""
    before, *parts = _SPEAKERS.split(text.strip())
    if before or not parts:
        return None
    return [{"role": ROLES[speaker.lower()], "content": said.strip()} for speaker, said in zip(parts[::2], parts[1::2], strict=True)]


def turns(value: Any, place: Sentence, column: str) -> list[dict]:
    """The turns in one cell, roles by their usual names or as `taken_for` says, not yet checked for order."""
    items = as_list(value)
    if items is None:
        raise RowProblem(
            "shape", "{place} holds no list of messages in '{column}'. Mend that row, or choose another column.", place=place, column=column
        )
    try:
        return [_turn(item, place) for item in items]
    except RowProblem as problem:
        if problem.kind != "role" or not (taken := taken_for(items)):
            raise
        return [_turn(item, place, taken) for item in items]


def taken_for(items: list) -> dict[str, str]:
    """Unknown speaker → user or assistant, where two speak with each other and one or both of them have names of their own: it is what the
    other is not, and of two unknown ones who begins asks."""
    speakers = dict.fromkeys(name for item in items if isinstance(item, dict) and ROLES.get(name := _speaker(item)) not in ("system", "tool"))
    if len(speakers) != 2 or "" in speakers:
        return {}
    one, other = speakers
    counterpart = {"user": "assistant", "assistant": "user"}
    first = ROLES.get(one) or counterpart[ROLES.get(other, "assistant")]
    return {name: role for name, role in ((one, first), (other, counterpart[first])) if name not in ROLES}


def _speaker(item: dict) -> str:
    """Who speaks, as `ROLES` writes it; "" where nobody is named."""
    found = item.get("role", item.get("from"))
    return found.strip().lower() if isinstance(found, str) else ""


def _turn(item: Any, place: Sentence, taken: dict[str, str] | None = None) -> dict:
    if isinstance(item, dict) and len(item) == 2 and item.get("role") in _PLAIN and isinstance(item.get("content"), str):
        return item
    if not isinstance(item, dict):
        raise RowProblem("shape", "{place} has a message that is no object with role and content. Mend that row.", place=place)
    speaker = item.get("role", item.get("from"))
    role = ROLES.get(name := _speaker(item)) or (taken or {}).get(name)
    if role is None:
        raise RowProblem(
            "role", "{place} has a message from '{role}'. Known are system, user, assistant and tool; rename it.", place=place,
            role=as_text(speaker)[:40],
        )
    content = item.get("content", item.get("value", item.get("text")))
    turn = {"role": role, "content": _content(content, place)}
    turn.update({key: item[key] for key in _KEPT if item.get(key)})
    if role == "assistant" and item.get("weight") == 0:  # as OpenAI's fine-tuning files mark an answer that is read but not learnt
        turn["weight"] = 0
    if "tool_calls" in turn:
        turn["tool_calls"] = [_call(call, place) for call in as_list(turn["tool_calls"]) or [None]]
    elif name == "function_call":
        turn |= {"content": "", "tool_calls": [_call(turn["content"], place)]}
    return turn


def _call(call: Any, place: Sentence) -> dict:
    """A tool call as chat templates take it: its arguments as an object, not as JSON text."""
    call = _from_json(call)
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowProblem("shape", "{place} has a tool call without a function's name and arguments. Mend that row.", place=place)
    function = {**function, "arguments": _from_json(function.get("arguments") or {})}
    return {**call, "function": function} if "function" in call else {"type": "function", "function": function}


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _content(content: Any, place: Sentence) -> str:
    if not isinstance(content, list):
        return as_text(content)
    texts = []
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, str):
            texts.append(part)
        else:
            raise RowProblem("shape", "{place} has a message with a part that is not text, which cannot be learnt from here.", place=place)
    return "".join(texts)


def check_order(messages: list[dict], place: Sentence) -> list[dict]:
    """`messages` if they are in order: user and assistant in turn, tool results after calls, an assistant at the end, nobody silent; system
    messages may stand anywhere before the end. Raises RowProblem."""
    if not messages:
        raise RowProblem("empty", "{place} has no messages. Fill it or remove it.", place=place)
    before = spoke = "start"
    for number, turn in enumerate(messages, start=1):
        role = turn["role"]
        if not turn["content"].strip() and not turn.get("tool_calls") and role != "tool":
            raise RowProblem(
                "empty", "{place} has an empty message from {role} (message {number}). Fill it or remove the row.", place=place,
                role=role, number=number,
            )
        if role != "system" and spoke not in _MAY_FOLLOW[role]:
            raise RowProblem(
                "order", "{place} breaks the order of the roles: message {number} is from {role}, after {before}. "
                "user and assistant must alternate, beginning with user.", place=place, number=number, role=role, before=before,
            )
        before, spoke = role, spoke if role == "system" else role
    if before != "assistant":
        raise RowProblem(
            "order", "{place} ends with a message from {role}, so there is no answer to learn. Add the assistant's answer or "
            "remove that message.", place=place, role=before,
        )
    return messages


_MAY_FOLLOW = {
    "user": {"start", "assistant"}, "assistant": {"user", "tool"}, "tool": {"assistant", "tool"},
}

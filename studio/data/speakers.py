"""Map the speaker names found in data files to the roles of chat templates.

Independent of the contents of turns.
"""

from __future__ import annotations

from typing import Any

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "claude": "assistant",
    "gemini": "assistant",
    "copilot": "assistant",
    "llama": "assistant",
    "mistral": "assistant",
    "gpt-3.5": "assistant",
    "gpt-4": "assistant",
    "gpt4": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool_calls": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "tool_results": "tool",
    "tool_output": "tool",
    "function_response": "tool",
    "function_result": "tool",
    "用户": "user",
    "助手": "assistant",
    "系统": "system",
}
"""Speaker name in data files → role in chat templates."""
QUESTION_KEYS = ("user", "human", "query", "question", "prompt", "instruction", "input", "q")
"""Keys of the question in an object that holds one exchange."""
ANSWER_KEYS = ("assistant", "gpt", "bot", "response", "answer", "completion", "output", "a")
"""Keys of the answer in such an object."""
CALLERS = {"function_call", "tool_call", "tool_calls"}
"""Speakers whose content is a tool call or a list of tool calls: ShareGPT and ms-swift."""


def named(item: dict) -> Any:
    """The speaker as written in the file; None if there is none."""
    found = item.get("role")
    return item.get("from") if found is None else found


def speaker(item: dict) -> str:
    """The speaker, normalised to the spelling in `ROLES`; "" if there is none."""
    found = item.get("role") or named(item)
    if not isinstance(found, str):
        return ""
    if found in ROLES:
        return found
    name = found.strip().lower()
    return name if name in ROLES else name.replace("-", "_").replace(" ", "_")


def infer_roles(items: list) -> dict[str, str]:
    """Unknown speaker → "user" or "assistant", in a conversation of exactly two speakers; {} for any other.

    If one speaker is known, the other gets the opposite role; if both are unknown, the first one is the user. System
    messages and tool results do not count as speakers.
    """
    spoke = dict.fromkeys(
        name for item in items if isinstance(item, dict) and ROLES.get(name := speaker(item)) not in ("system", "tool")
    )
    if len(spoke) != 2 or "" in spoke:
        return {}
    one, other = spoke
    counterpart = {"user": "assistant", "assistant": "user"}
    first = ROLES.get(one) or counterpart[ROLES.get(other, "assistant")]
    return {name: role for name, role in ((one, first), (other, counterpart[first])) if name not in ROLES}


def is_turn(item: Any) -> bool:
    """Whether this is an object with a speaker."""
    return isinstance(item, dict) and ("role" in item or "from" in item)


def to_turns(items: list) -> list:
    """Convert a list of exchanges with speaker names as keys, [{"human": …, "assistant": …}, …], to turns.

    This is the ShareGPT variant of ms-swift. Other keys of an exchange are assigned to the answer. A list in any other
    format is returned unchanged.
    """
    if not items or not isinstance(items[0], dict) or "role" in items[0] or "from" in items[0]:
        return items
    found = []
    for item in items:
        keys = _pair(item) if isinstance(item, dict) else None
        if keys is None:
            return items
        system, asked, text = keys
        if system and item[system]:
            found.append({"role": "system", "content": item[system]})
        rest = {key: value for key, value in item.items() if key not in keys}
        found += [{"role": "user", "content": item[asked]}, {**rest, "role": "assistant", "content": item[text]}]
    return found


def exchanges(items: list) -> list:
    """Convert a list of exchanges with other keys, [{"input": …, "output": …}, …] (Capybara), to turns.

    Other keys of an exchange are assigned to the answer. A list in any other format is returned unchanged. Only for
    cells that are known to hold a conversation, since such a list may be anything elsewhere.
    """
    found = []
    for item in items:
        if not isinstance(item, dict) or is_turn(item):
            return items
        both = (QUESTION_KEYS, ANSWER_KEYS)
        asked, answered = ([key for key in keys if isinstance(item.get(key), str)] for keys in both)
        if len(asked) != 1 or len(answered) != 1:
            return items
        if item.get("system"):
            found.append({"role": "system", "content": item["system"]})
        rest = {key: value for key, value in item.items() if key not in (asked[0], answered[0], "system")}
        found += [
            {"role": "user", "content": item[asked[0]]},
            {**rest, "role": "assistant", "content": item[answered[0]]},
        ]
    return found


def _pair(item: dict) -> tuple[str | None, str, str] | None:
    """The keys of the system text (or None), the question and the answer in an exchange.

    None if the object is not an exchange.
    """
    keys: dict[str, list[str]] = {"system": [], "user": [], "assistant": [], "tool": []}
    for key in item:
        if role := ROLES.get(str(key).lower()):
            keys[role].append(key)
    if len(keys["user"]) != 1 or len(keys["assistant"]) != 1 or keys["tool"] or len(keys["system"]) > 1:
        return None
    return (keys["system"] or [None])[0], keys["user"][0], keys["assistant"][0]

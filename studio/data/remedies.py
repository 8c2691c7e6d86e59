"""Remedies for findings: reversible changes that are stored in the recipe and applied while reading.

The data file itself is never changed. `REMEDIES` lists the actions for each kind of finding. Remedies that edit texts
are implemented here, per record; those that remove or move records are in `splitting.py`. Independent of the user
interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.data.fingerprints import CONTROLS, EMAILS, GARBLED, KEYS, MEDIA_MARKS
from studio.data.languages import LANGUAGES
from studio.options import InvalidOption
from studio.words import Sentence

REMEDIES: dict[str, dict[str, Sentence]] = {
    "order": {"merge": Sentence("Merge neighbours and drop what has no answer")},
    "duplicate": {"drop": Sentence("Keep only the first of each")},
    "validation_duplicate": {"drop": Sentence("Measure on only the first of each")},
    "own_validation": {
        "train": Sentence("Train on them like on the others, and take a part of all rows for validation")
    },
    "near_duplicate": {"drop": Sentence("Keep only the first of each")},
    "long": {
        "trim": Sentence("Shorten them at the front, so that the end fits"),
        "drop": Sentence("Leave these rows out"),
    },
    "refused": {
        "question": Sentence("Write system texts before the next question"),
        "none": Sentence("Leave system texts out"),
    },
    "no_end": {"add": Sentence("Train on the tokenizer's end token behind each answer")},
    "imbalance": {"trim": Sentence("Take fewer of the frequent labels")},
    "spelling": {"merge": Sentence("Write each label as most rows do")},
    "prompt_leakage": {"move": Sentence("Move them to the training part"), "drop": Sentence("Do not measure on them")},
    "control": {"trim": Sentence("Take these characters out"), "drop": Sentence("Leave these rows out")},
    "mojibake": {"trim": Sentence("Fix what can be fixed"), "drop": Sentence("Leave these rows out")},
    "media": {
        "trim": Sentence("Take the marks out and train on the words alone"),
        "drop": Sentence("Leave these rows out"),
    },
    "secret": {"mask": Sentence("Mask them"), "drop": Sentence("Leave these rows out")},
    "language": {code: Sentence("Keep only {name}", name=name) for code, name in LANGUAGES.items()},
}
"""Kind of finding → action → button label."""


def checked(remedies: dict[str, str]) -> dict[str, str]:
    """Pydantic validator: return `remedies` if every kind and action is known. Raises InvalidOption."""
    for kind, action in remedies.items():
        if action not in REMEDIES.get(kind, {}):
            raise InvalidOption(
                "There is no remedy '{action}' for '{kind}'; remove it from the recipe.", action=action, kind=kind
            )
    return remedies


def changes(remedies: dict[str, str]) -> dict[str, Callable[[str], str]]:
    """Kind → text function, for those of `remedies` that edit texts."""
    known = {
        ("control", "trim"): _without_controls,
        ("mojibake", "trim"): _mended,
        ("secret", "mask"): _masked,
        ("media", "trim"): _without_media,
    }
    return {kind: known[kind, action] for kind, action in remedies.items() if (kind, action) in known}


def _without_controls(text: str) -> str:
    return text if text.isprintable() else CONTROLS.sub("", text)


def _without_media(text: str) -> str:
    return MEDIA_MARKS.sub("", text).strip() if "<" in text and MEDIA_MARKS.search(text) else text


def _mended(text: str) -> str:
    """Repair text that was encoded as UTF-8 and decoded as Windows-1252 or Latin-1; unchanged if that fails."""
    if text.isascii() or not GARBLED.search(text):
        return text
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def _masked(text: str) -> str:
    return EMAILS.sub("[e-mail]", KEYS.sub("[key]", text))


def rewritten(value: dict, change: Callable[[str], str]) -> dict:
    """Apply `change` to all texts of a record, including the arguments of tool calls.

    Labels and tool schemas stay unchanged.
    """
    made = dict(value)
    for key in ("text", "chosen", "rejected", "completion"):
        if isinstance(made.get(key), str):
            made[key] = change(made[key])
    for key in ("messages", "prompt"):
        if key in made:
            made[key] = [_reworded(turn, change) for turn in made[key]]
    return made


def _reworded(turn: dict, change: Callable[[str], str]) -> dict:
    made = {**turn, "content": change(turn["content"])}
    if turn.get("span_weights"):
        made["span_weights"] = [
            [*(min(len(change(turn["content"][:at])), len(made["content"])) for at in span[:2]), span[2]]
            for span in turn["span_weights"]
        ]
    if "tool_calls" in turn:
        made["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _everywhere(call["function"]["arguments"], change)}}
            for call in turn["tool_calls"]
        ]
    return made


def _everywhere(value: Any, change: Callable[[str], str]) -> Any:
    """Apply `change` to every string in a JSON-like value, without the keys of objects."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _everywhere(item, change) for key, item in value.items()}
    return [_everywhere(item, change) for item in value] if isinstance(value, list) else value


def merged(messages: list[dict]) -> list[dict]:
    """Repair the order of the roles in a conversation.

    Neighbouring turns of the same role and weight are merged, also across a system message. Empty turns, answers before
    the first user turn, and everything after the last answer are removed.
    """
    made: list[dict] = []
    for turn in messages:
        calls = turn.get("tool_calls")
        if not turn["content"].strip() and not calls and turn["role"] != "tool":
            continue
        if turn["role"] == "assistant" and not any(before["role"] == "user" for before in made):
            continue
        at = (
            next((at for at in reversed(range(len(made))) if made[at]["role"] != "system"), None)
            if turn["role"] != "system"
            else len(made) - 1
        )
        last = made[at] if at is not None and at >= 0 else {}
        alike = all(last.get(key) == turn.get(key) for key in ("role", "weight"))  # a merged turn has a single weight
        if alike and turn["role"] != "tool" and not calls and not last.get("tool_calls"):
            made[at] = _joined(last, turn)
        else:
            made.append(turn)
    while made and made[-1]["role"] != "assistant":
        made.pop()
    return made


def _joined(first: dict, second: dict) -> dict:
    """Concatenate two turns; the span weights of the second are shifted."""
    made = {**first, "content": f"{first['content']}\n\n{second['content']}"}
    offset = len(first["content"]) + 2
    spans = [
        *first.get("span_weights", []),
        *([start + offset, end + offset, weight] for start, end, weight in second.get("span_weights", [])),
    ]
    return {**made, "span_weights": spans} if spans else made

"""What can be done about a finding without touching the file: chosen with one click, kept in the recipe, undone the same way.

`REMEDIES` says which actions there are for each kind of finding. Those that change a record's text work here, row by row, while
the file is read; those that leave rows out or move them are `dataset.py`'s. Knows nothing about the page.
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
    "apart": {"learn": Sentence("Learn from them like from the others, and keep a part of all apart")},
    "near_duplicate": {"drop": Sentence("Keep only the first of each")},
    "long": {
        "trim": Sentence("Shorten them at the front, so that the end fits"),
        "drop": Sentence("Leave these rows out"),
    },
    "refused": {
        "question": Sentence("Write system texts before the next question"),
        "none": Sentence("Leave system texts out"),
    },
    "no_end": {"add": Sentence("Learn the tokenizer's end token behind each answer")},
    "imbalance": {"trim": Sentence("Take fewer of the frequent labels")},
    "spelling": {"merge": Sentence("Write each label as most rows do")},
    "prompt_leakage": {"move": Sentence("Move them to the training part"), "drop": Sentence("Do not measure on them")},
    "control": {"trim": Sentence("Take these characters out"), "drop": Sentence("Leave these rows out")},
    "mojibake": {"trim": Sentence("Fix what can be fixed"), "drop": Sentence("Leave these rows out")},
    "media": {
        "trim": Sentence("Take the marks out and learn the words alone"),
        "drop": Sentence("Leave these rows out"),
    },
    "secret": {"mask": Sentence("Mask them"), "drop": Sentence("Leave these rows out")},
    "language": {code: Sentence("Keep only {name}", name=name) for code, name in LANGUAGES.items()},
}
"""Kind of finding → action → what its button says."""


def checked(remedies: dict[str, str]) -> dict[str, str]:
    """`remedies` if every kind and action is known; for pydantic."""
    for kind, action in remedies.items():
        if action not in REMEDIES.get(kind, {}):
            raise InvalidOption(
                "There is no remedy '{action}' for '{kind}'; remove it from the recipe.", action=action, kind=kind
            )
    return remedies


def changes(remedies: dict[str, str]) -> dict[str, Callable[[str], str]]:
    """Kind → the function on one text that `remedies` ask for, for those that change texts."""
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
    """Text that was UTF-8 and was read as Windows-1252, read again; as it was where that does not fit."""
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
    """A record with `change` applied to each of its texts, those in the arguments of calls included; labels and tools stay."""
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
    """A JSON-like value with `change` applied to every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _everywhere(item, change) for key, item in value.items()}
    return [_everywhere(item, change) for item in value] if isinstance(value, list) else value


def merged(messages: list[dict]) -> list[dict]:
    """`messages` with neighbours of one role and weight made one, also where a system text stands between them, silent turns taken out, and
    answers before the first question and what stands behind the last answer left away."""
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
        alike = all(last.get(key) == turn.get(key) for key in ("role", "weight"))  # one answer cannot be learnt by half
        if alike and turn["role"] != "tool" and not calls and not last.get("tool_calls"):
            made[at] = _joined(last, turn)
        else:
            made.append(turn)
    while made and made[-1]["role"] != "assistant":
        made.pop()
    return made


def _joined(first: dict, second: dict) -> dict:
    """Two turns as one; weights of parts of the second move with its words."""
    made = {**first, "content": f"{first['content']}\n\n{second['content']}"}
    offset = len(first["content"]) + 2
    spans = [
        *first.get("span_weights", []),
        *([start + offset, end + offset, weight] for start, end, weight in second.get("span_weights", [])),
    ]
    return {**made, "span_weights": spans} if spans else made

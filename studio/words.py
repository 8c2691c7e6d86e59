"""Translatable messages: `Sentence`, `StudioError` and `translate`.

A sentence is an English template plus values, so that a worker can write it to the store and a window can format it
later in the user's language. Translations are in `assets/i18n/<language>/*.json`, keyed by the English template.
Independent of where a sentence is displayed.

Plural forms: "{count} {count:row is|rows are} left out" gives "1 row is left out" and "2 rows are left out".
"""

from __future__ import annotations

import json
import string
from functools import cache
from pathlib import Path

LANGUAGES = {"en": "English", "zh": "简体中文"}
_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "i18n"


@cache
def translations(language: str) -> dict[str, str]:
    """English template → template in `language`; empty for English."""
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.json")):
        found.update(json.loads(path.read_text(encoding="utf-8")))
    return found


class _Wording(string.Formatter):
    """`str.format` with plural forms: `{count:one|many}` gives the first text if count is 1, else the second."""

    def format_field(self, value, format_spec):
        if "|" not in format_spec:
            return super().format_field(value, format_spec)
        one, many = format_spec.split("|")
        return one if str(value) == "1" else many


def translate(text: str, language: str = "en", **values) -> str:
    """Translate the template `text` to `language` and fill in `values`; English where no translation exists.

    A value that is itself a `Sentence` is translated to the same language.
    """
    template = translations(language).get(text, text)
    if not values:
        return template
    message = {key: value.say(language) if isinstance(value, Sentence) else value for key, value in values.items()}
    return (
        _Wording().format(template, **message) if "|" in template else template.format(**message)
    )  # str.format is ten times as fast as _Wording


class Sentence:
    """A translatable message: the English template `text` and the `values` of its `{placeholders}`."""

    def __init__(self, text: str, /, **values):
        self.text = text
        self.values = values

    def say(self, language: str = "en") -> str:
        return translate(self.text, language, **self.values)

    def __str__(self) -> str:
        return self.say()

    def __repr__(self) -> str:
        return f"Sentence({self.say()!r})"

    def __eq__(self, other) -> bool:
        return isinstance(other, Sentence) and (self.text, self.values) == (other.text, other.values)

    def __hash__(self) -> int:
        return hash(str(self))

    def to_json(self) -> dict:
        """Convert to a JSON-serialisable dict `{"text": template, "values": {...}}`, nested sentences included."""
        values = {
            key: value.to_json()
            if isinstance(value, Sentence)
            else value
            if isinstance(value, int | float)
            else str(value)
            for key, value in self.values.items()
        }
        return {"text": self.text, "values": values}

    @classmethod
    def from_json(cls, data: dict | None) -> Sentence | None:
        if not data:
            return None
        values = {
            key: cls.from_json(value) if isinstance(value, dict) else value
            for key, value in data.get("values", {}).items()
        }
        return cls(data["text"], **values)


class StudioError(Exception):
    """An error that the user can fix. Its sentence says what is wrong, where, and what to do."""

    def __init__(self, text: str | Sentence, /, **values):
        self.sentence = text if isinstance(text, Sentence) else Sentence(text, **values)
        super().__init__(str(self.sentence))

"""One cell of a table as text, or as the list or object that is written in it: as JSON, or as Python, numpy and pandas
print it.

Nothing is evaluated: what Python prints is read token by token, with a bound on size and depth. Knows nothing about
columns.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from studio.data.speakers import is_turn, spoken

MAX_WRITTEN = 4 * 2**20
"""Characters of a cell that is read as Python prints it."""
MAX_DEPTH = 64
"""Lists and objects inside each other, in such a cell."""


def as_text(value: Any) -> str:
    """A cell as text: nested values as JSON, None and NaN as nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value != value:  # NaN is how pandas and NumPy write a missing value
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def constant(name: str) -> float | None:
    """What JSON itself does not know but Python and pandas write: NaN is a missing value."""
    return None if name == "NaN" else float(name)


_JSON = json.JSONDecoder(parse_constant=constant)
_ITEM = r"""\s*(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?)\s*"""
_WRITTEN = re.compile(rf"\s*\[(?:{_ITEM}(?:,{_ITEM})*)?\]\s*")
"""A list of texts and numbers as Python writes it. Without its commas, as numpy writes it, it is none: Python would
take 'a' 'b' for 'ab'."""
_OPENS = re.compile(r"\s*(?:(?:np\.)?array\()?\[")
_OBJECTS = re.compile(r"\s*(?:(?:np\.)?array\()?\[\s*\{")


def as_list(value: Any) -> list | None:
    """A list, also where a table holds it as JSON text, as Python writes a list of texts and numbers, or as Python or
    numpy write a list of turns; else None. Other text that looks like a list stays text: it may be an answer."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or not _OPENS.match(value):
        return None
    try:
        found = _JSON.decode(value)
    except (ValueError, RecursionError):
        return _as_python(value)
    return spoken(found) if isinstance(found, list) else None


def _as_python(text: str) -> list | None:
    if _OBJECTS.match(text):
        found = written(text)
        found = spoken(found) if isinstance(found, list) else None
        return found if found and all(map(is_turn, found)) else None
    if not _WRITTEN.fullmatch(text):
        return None
    try:
        return ast.literal_eval(text.strip())
    except (
        ValueError,
        SyntaxError,
        RecursionError,
        MemoryError,
    ):  # a backslash or a number that Python would not write
        return None


def structured(value: Any) -> Any:
    """What is written in a text, a list or an object, as JSON or as Python; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = _JSON.decode(value)
    except (ValueError, RecursionError):
        found = written(value)
    return found if isinstance(found, list | dict) else value


def written(text: str) -> list | dict | None:
    """The list or object that Python, numpy or pandas print as `text`; None where it is none, or too large or too
    deep."""
    if len(text) > MAX_WRITTEN or not re.match(r"\s*(?:[\[({]|(?:np\.)?array\()", text):
        return None
    try:
        found = _Printed(text).whole()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list | dict) else None


_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")"""
    r"""|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"""
    r"""|(?P<name>-?[A-Za-z_][\w.]*|<NA>)|(?P<mark>[\[\](){},:=]))""",
    re.DOTALL,
)
_NAMES: dict[str, Any] = {
    "None": None,
    "null": None,
    "nan": None,
    "NaN": None,
    "<NA>": None,
    "NaT": None,
    "np.nan": None,
    "True": True,
    "true": True,
    "np.True_": True,
    "False": False,
    "false": False,
    "np.False_": False,
    "inf": float("inf"),
    "-inf": float("-inf"),
}
_WRAPPERS = re.compile(r"(?:np\.|numpy\.)?(?:array|str_|float(?:16|32|64)|u?int(?:8|16|32|64)|bool_)")
_ESCAPES = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_SINGLE = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\n": "",
}


def _unescaped(found: re.Match) -> str:
    code = found[0][1:]
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))  # ValueError beyond the last character
    return chr(int(code, 8)) if code[0] in "01234567" else _SINGLE.get(code, found[0])


class _Printed:
    """A value as Python prints it, read from the left. Raises ValueError where the text is no such value."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def whole(self) -> Any:
        found = self.value(0)
        if self.text[self.at :].strip():
            raise ValueError("more text behind the value")
        return found

    def token(self) -> re.Match:
        if not (found := _TOKEN.match(self.text, self.at)):
            raise ValueError("no token of a printed value")
        self.at = found.end()
        return found

    def mark(self, marks: str) -> str:
        """The mark that stands here, if it is one of `marks`, consumed; else ""."""
        found = _TOKEN.match(self.text, self.at)
        if found and found["mark"] and found["mark"] in marks:
            self.at = found.end()
            return found["mark"]
        return ""

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        token = self.token()
        if (text := token["string"]) is not None:
            return _ESCAPES.sub(_unescaped, text[1:-1]) if "\\" in text else text[1:-1]
        if (number := token["number"]) is not None:
            return float(number) if re.search("[.eE]", number) else int(number)
        if (name := token["name"]) is not None:
            return self._wrapped(depth) if _WRAPPERS.fullmatch(name) and self.mark("(") else self._name(name)
        if token["mark"] == "{":
            return self._object(depth)
        if token["mark"] in "[(":
            return self._list("]" if token["mark"] == "[" else ")", depth)
        raise ValueError("a mark where a value should stand")

    def _name(self, name: str) -> Any:
        if name not in _NAMES:
            raise ValueError("an unknown name")
        return _NAMES[name]

    def _list(self, close: str, depth: int) -> list:
        """numpy prints no commas between items."""
        found: list = []
        while not self.mark(close):
            found.append(self.value(depth + 1))
            self.mark(",")
        return found

    def _object(self, depth: int) -> dict:
        found: dict = {}
        while not self.mark("}"):
            key = self.value(depth + 1)
            if isinstance(key, list | dict) or not self.mark(":"):
                raise ValueError("no key and value")
            found[key if isinstance(key, str) else as_text(key)] = self.value(depth + 1)
            self.mark(",")
        return found

    def _wrapped(self, depth: int) -> Any:
        """What array(…, dtype=object) or np.str_(…) holds."""
        found = self.value(depth + 1)
        while self.mark(","):
            self.token()
            if self.mark("="):
                self.token()
        if not self.mark(")"):
            raise ValueError("an array that is not closed")
        return found

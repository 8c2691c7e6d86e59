"""Convert one table cell to text, or parse the list or object in it: JSON, or the output of Python, numpy and pandas.

Nothing is evaluated: Python's printed form is parsed token by token, with limits on size and depth.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from studio.data.speakers import is_turn, to_turns

MAX_WRITTEN = 4 * 2**20
"""Maximum number of characters of a cell that is parsed as printed by Python."""
MAX_DEPTH = 64
"""Maximum nesting depth of such a cell."""


def as_text(value: Any) -> str:
    """A cell as text: lists and objects as JSON, None and NaN as the empty string."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value != value:  # NaN: pandas and NumPy use it for missing values
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def constant(name: str) -> float | None:
    """`parse_constant` for JSON decoders: NaN, Infinity and -Infinity, which Python writes; NaN is a missing value."""
    return None if name == "NaN" else float(name)


_JSON = json.JSONDecoder(parse_constant=constant)
_ITEM = r"""\s*(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?)\s*"""
_WRITTEN = re.compile(rf"\s*\[(?:{_ITEM}(?:,{_ITEM})*)?\]\s*")
"""A list of texts and numbers as printed by Python. Without commas, as printed by numpy, it does not match: Python
would read 'a' 'b' as 'ab'."""
_OPENS = re.compile(r"\s*(?:(?:np\.)?array\()?\[")
_OBJECTS = re.compile(r"\s*(?:(?:np\.)?array\()?\[\s*\{")


def as_list(value: Any) -> list | None:
    """A cell as a list; None if it is none.

    Parsed from text are JSON lists, lists of texts and numbers as printed by Python, and lists of turns as printed by
    Python or numpy. Other text that looks like a list stays text, since it may be an answer.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or not _OPENS.match(value):
        return None
    try:
        found = _JSON.decode(value)
    except (ValueError, RecursionError):
        return _as_python(value)
    return to_turns(found) if isinstance(found, list) else None


def _as_python(text: str) -> list | None:
    if _OBJECTS.match(text):
        found = written(text)
        found = to_turns(found) if isinstance(found, list) else None
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
    ):  # an escape sequence or number that Python does not accept
        return None


def structured(value: Any) -> Any:
    """The list or object in a text, parsed as JSON or as printed by Python; any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        found = _JSON.decode(value)
    except (ValueError, RecursionError):
        found = written(value)
    return found if isinstance(found, list | dict) else value


def written(text: str) -> list | dict | None:
    """Parse a list or object as printed by Python, numpy or pandas; None if it is none, too large or too deep."""
    if len(text) > MAX_WRITTEN or not re.match(r"\s*(?:[\[({]|(?:np\.)?array\()", text):
        return None
    try:
        found = _Printed(text).whole()
    except (ValueError, OverflowError, RecursionError):  # OverflowError: an escape such as \UFFFFFFFF
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
        return chr(int(code[1:], 16))  # ValueError beyond U+10FFFF
    return chr(int(code, 8)) if code[0] in "01234567" else _SINGLE.get(code, found[0])


class _Printed:
    """Recursive-descent parser of a value as printed by Python. Raises ValueError if the text is no such value."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def whole(self) -> Any:
        """Parse the whole text as one value."""
        found = self.value(0)
        if self.text[self.at :].strip():
            raise ValueError("more text behind the value")
        return found

    def token(self) -> re.Match:
        """Consume the next token."""
        if not (found := _TOKEN.match(self.text, self.at)):
            raise ValueError("no token of a printed value")
        self.at = found.end()
        return found

    def mark(self, marks: str) -> str:
        """Consume the next token if it is one of the punctuation `marks`, and return it; else return ""."""
        found = _TOKEN.match(self.text, self.at)
        if found and found["mark"] and found["mark"] in marks:
            self.at = found.end()
            return found["mark"]
        return ""

    def value(self, depth: int) -> Any:
        """Parse one value at nesting level `depth`."""
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
        """Parse the items up to `close`; commas are optional, since numpy prints none."""
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
        """Parse the value inside array(…, dtype=object) or np.str_(…); further arguments are skipped."""
        found = self.value(depth + 1)
        while self.mark(","):
            self.token()
            if self.mark("="):
                self.token()
        if not self.mark(")"):
            raise ValueError("an array that is not closed")
        return found

"""Readers for JSON, JSON Lines, plain text and Markdown. Tables are read by `readers_table.py`.

Each reader takes a `Source` and yields its rows. A row that cannot be read is reported to the source with its line
number. Formats are detected in `formats.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from studio.data.cells import constant
from studio.data.containers import Item, items_of
from studio.data.encoding import BAD, numbered_lines, open_text
from studio.data.rows import Row
from studio.data.source import Source
from studio.words import Sentence, StudioError

MAX_PARAGRAPH = 4 * 2**20
"""Maximum number of characters in a paragraph; a longer one is split at the next line break."""
MAX_ITEM = 64 * 2**20
"""Maximum number of characters in one item of a JSON list."""
MAX_OBJECT = 300 * 2**20
"""Maximum size in bytes of a JSON file that is not a list, because it must be loaded as a whole."""

_FRONT_MATTER = 500  # maximum number of lines
_SETTING = re.compile(r"\s|#|- |[^\s:][^:]*:(\s|$)")

_SPACE = re.compile(r"[ \t\r\n]*")
_CHUNK = 2**20


def as_values(item: Any) -> dict | None:
    """Convert a JSON value to row values: an object, a text, or a list of objects (messages); None for any other."""
    if isinstance(item, dict):
        return item
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, list) and item and all(isinstance(part, dict) for part in item):
        return {"messages": item}
    return None


def read_jsonl(source: Source) -> Iterator[Row]:
    """Rows of a JSON Lines file; empty lines are skipped."""
    for number, line in numbered_lines(source.path, source.encoding, source.name):
        if line.isspace():
            continue
        if BAD in line:
            source.report_bytes(number)
            continue
        try:
            item = _loads(line)
        except json.JSONDecodeError as error:
            source.report(
                number,
                "broken",
                "{place} is not valid JSON (column {column}: {detail}). Correct that line or remove it.",
                column=error.colno,
                detail=Sentence(error.msg),
            )
            continue
        except (ValueError, RecursionError):
            source.report(
                number,
                "broken",
                "{place} holds JSON that is nested too deeply or a number that is too long. "
                "Correct that line or remove it.",
            )
            continue
        yield from _row(source, number, item)


_ALL_ZERO, _LONG_NUMBER = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19


def _loads(line: str) -> Any:
    """Parse JSON like `json.loads`, with orjson where possible, which is four times as fast.

    orjson rejects integers beyond 64 bits and control characters in strings, and has other error messages; in these
    cases `json` is used.
    """
    data = line.encode("utf-8", "surrogatepass")
    if _LONG_NUMBER not in data.translate(_ALL_ZERO):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return json.loads(line, strict=False, parse_constant=constant)


def _row(source: Source, number: int, item: Any) -> Iterator[Row]:
    values = as_values(item)
    if values is None:
        source.report(
            number,
            "shape",
            "{place} is no record with named columns but {what}. Write it as an object or remove it.",
            what=Sentence(_WHAT.get(type(item), "a single value")),
        )
    else:
        yield Row(number, values)


_WHAT = {list: "a list", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


class _Feed:
    """Incremental parser for JSON text that tracks the line and column of the text already dropped."""

    def __init__(self, source: Source):
        self.source = source
        self.file = open_text(source.path, source.encoding)
        self.text, self.at, self.done = "", 0, False
        self.line, self.column = 1, 1
        self.decoder = json.JSONDecoder(parse_constant=constant)

    def more(self) -> None:
        """Drop the consumed text and read the next chunk.

        At least as much is read as is still held, so that the number of parse attempts grows logarithmically.
        """
        self.line, self.column = self.position(self.at)
        self.text, self.at = self.text[self.at :], 0
        chunk = self.file.read(max(_CHUNK, len(self.text)))
        self.done = not chunk
        self.text += chunk

    def position(self, at: int) -> tuple[int, int]:
        """(line, column) in the file of the character at index `at` of the held text."""
        breaks = self.text.count("\n", 0, at)
        if breaks:
            return self.line + breaks, at - self.text.rfind("\n", 0, at)
        return self.line, self.column + at

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if self.done:
                return ""
            self.more()

    def item(self) -> Any:
        """Parse the JSON value at the current position. Raises StudioError if it is invalid."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                # An error near the end of the held text may only mean that the value continues in the next chunk.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - 16
                if self.done or not cut or len(self.text) - self.at > MAX_ITEM:
                    raise self.error(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.error("nested too deeply, or a number that is too long", self.at) from error
            else:
                if end < len(self.text) or self.done:
                    self.at = end
                    return value
            self.more()

    def error(self, detail: str, at: int | None = None) -> StudioError:
        line, column = self.position(self.at if at is None else at)
        return StudioError(
            "Line {line} of {name} is not valid JSON (column {column}: {detail}). Correct that place and choose the "
            "file again.",
            line=line,
            name=self.source.name,
            column=column,
            detail=Sentence(detail),
        )


def read_json(source: Source) -> Iterator[Row]:
    """Rows of a JSON file: a list (streamed), an object with records (`containers.py`), or concatenated objects."""
    feed = _Feed(source)
    with feed.file:
        items = map(Item, _list_items(feed)) if feed.peek() == "[" else _object_items(feed)
        for number, (item, is_validation) in enumerate(items, start=1):
            if _holds_bad(item):
                source.report_bytes(number)
            else:
                rows = _row(source, number, item)
                yield from (row._replace(is_validation=True) for row in rows) if is_validation else rows


def _holds_bad(item: Any) -> bool:
    """Whether a string in `item` has bytes that could not be decoded."""
    waiting = [item]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if BAD in value:
                return True
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _list_items(feed: _Feed) -> Iterator[Any]:
    feed.at += 1
    if feed.peek() != "]":
        while True:
            if not feed.peek():
                raise feed.error("the list is not closed")
            yield feed.item()
            char = feed.peek()
            if char == "]":
                break
            if char != ",":
                raise feed.error("Expecting ',' delimiter" if char else "the list is not closed")
            feed.at += 1
            feed.peek()
    feed.at += 1
    if feed.peek():
        raise feed.error("Extra data")


def _object_items(feed: _Feed) -> Iterator[Item]:
    source = feed.source
    if source.path.stat().st_size > MAX_OBJECT:
        raise StudioError(
            "{name} is no list but JSON objects of more than {limit} MB, which cannot be read piece by piece. Save "
            "it as JSONL, one record a line.",
            name=source.name,
            limit=MAX_OBJECT // 2**20,
        )
    while not feed.done:
        feed.text += (chunk := feed.file.read(16 * _CHUNK))
        feed.done = not chunk
    item = feed.item()
    if feed.peek() == "{":
        source.evidence.append(
            Sentence(
                "{name} holds JSON objects one after the other, not a list of them; each is read as a row.",
                name=source.name,
            )
        )
        return map(Item, itertools.chain([item], _following(feed)))
    if feed.peek():
        raise feed.error("Extra data")
    return iter(items_of(source, item))


def _following(feed: _Feed) -> Iterator[Any]:
    while feed.peek():
        yield feed.item()


def _front_matter(source: Source) -> int:
    """Number of lines of YAML front matter (between two lines of ---) at the beginning of the file."""
    lines = itertools.islice(numbered_lines(source.path, source.encoding, source.name), _FRONT_MATTER)
    if next(lines, (0, ""))[1].rstrip() != "---":
        return 0
    for number, line in lines:
        if line.rstrip() in ("---", "..."):
            return number
        if not _SETTING.match(line):
            return 0
    return 0


def read_text(source: Source) -> Iterator[Row]:
    """Paragraphs, separated by empty lines; the row number is that of a paragraph's first line.

    In Markdown, fenced code blocks are not split and front matter is skipped.
    """
    fences = source.format == "markdown"
    front = _front_matter(source) if fences else 0
    if front:
        source.warn(
            1,
            "left_aside",
            "{name} opens with {count} lines of settings (front matter), which are not read as text.",
            name=source.name,
            count=front,
        )
    start, fenced, size = 0, False, 0
    part: list[str] = []
    for number, line in numbered_lines(source.path, source.encoding, source.name):
        if number <= front:
            continue
        if fences and line.lstrip().startswith("```"):
            fenced = not fenced
        if (line.isspace() and not fenced) or size > MAX_PARAGRAPH:
            yield from _paragraph(source, start, part)
            part, size = [], 0
            if line.isspace():
                continue
        if not part:
            start = number
        part.append(line)
        size += len(line)
    yield from _paragraph(source, start, part)


def _paragraph(source: Source, start: int, part: list[str]) -> Iterator[Row]:
    text = "".join(part).strip("\r\n")
    if BAD in text:
        source.report_bytes(start)
    elif text.strip():
        yield Row(start, {"text": text})

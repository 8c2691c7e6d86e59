"""Reader for delimited text tables (CSV, TSV and variants), with quoted line breaks and line numbers.

An unbalanced quotation mark costs one row, not the rest of the file. Independent of the meaning of columns; the dialect
is detected in `formats.py`.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator

from studio.data.encoding import BAD, numbered_lines
from studio.data.formats import SEPARATOR_LINE, Dialect
from studio.data.rows import Row
from studio.data.source import Source
from studio.words import Sentence

MAX_FIELD = 4 * 2**20
"""Maximum number of characters in one field; a longer field has an opening quote that is never closed."""


def read_table(source: Source, dialect: Dialect) -> Iterator[Row]:
    """Records of a CSV or TSV file; the row number is the line on which a record begins.

    A record with invalid quoting or a number of fields that differs from the header is reported, and reading continues
    at the line after its first one, so that an unbalanced quote costs one row.
    """
    csv.field_size_limit(MAX_FIELD)
    columns: list[str] = []
    for start, record, pending, lines in _table_records(source, dialect):
        if isinstance(record, csv.Error):
            source.report(
                start,
                "broken",
                "{place} cannot be cut into fields ({detail}): a quotation mark is open or misplaced. "
                "Correct that line or remove it.",
                detail=str(record),
            )
        elif any(BAD in line for line in pending):
            source.report_bytes(start)
        elif not columns and start == 1 and SEPARATOR_LINE.fullmatch(pending[0]):
            continue
        elif not columns:
            first = record
            columns, headed = header(first)
            source.layout = columns
            if headed:
                continue
            source.warn(
                start,
                "header",
                "{name} seems to have no header row, so its columns are numbered. "
                "If the first line is a header, give each column a short name of its own.",
                name=source.name,
            )
            yield Row(start, dict(zip(columns, first, strict=True)))
        elif len(record) != len(columns):
            lines.give_back(pending[1:])
            source.report(
                start,
                "fields",
                "{place} has {count} {count:field|fields}, but the header names {expected}. "
                "Correct that line (a field that holds the separator needs quotation marks) or remove it.",
                count=len(record),
                expected=len(columns),
            )
        else:
            yield Row(start, dict(zip(columns, without_missing(source, record), strict=True)))


MISSING = {"nan", "NaN", "<NA>", "NaT"}
"""What pandas and NumPy write for a missing value in a table of texts.

"None", "null" and "NA" are excluded, because they may be an answer or a class.
"""
_IS_MISSING = Sentence(
    "Cells that hold nothing but nan, NaN, NaT or <NA>, as pandas writes a missing value, are read as empty."
)


def without_missing(source: Source, cells: list) -> list:
    """Replace cells that mark a missing value by None, and note this once in the evidence of `source`."""
    if MISSING.isdisjoint(cells):
        return cells
    if _IS_MISSING not in source.evidence:
        source.evidence.append(_IS_MISSING)
    return [None if isinstance(cell, str) and cell in MISSING else cell for cell in cells]


class _Lines:
    """The lines of a file, some of which can be pushed back to be read again."""

    def __init__(self, source: Source):
        self._fresh = numbered_lines(source.path, source.encoding, source.name, newline="")
        self._again: deque[tuple[int, str]] = deque()
        self.pending: list[tuple[int, str]] = []

    def give_back(self, lines: list[str]) -> None:
        if lines:
            self._again.extendleft(reversed(self.pending[-len(lines) :]))

    def feed(self) -> Iterator[str]:
        while True:
            item = self._again.popleft() if self._again else next(self._fresh, None)
            if item is None:
                return
            self.pending.append(item)
            yield item[1]


def _table_records(source: Source, dialect: Dialect) -> Iterator[tuple[int, list[str] | csv.Error, list[str], _Lines]]:
    lines = _Lines(source)
    reader = csv.reader(lines.feed(), **dialect.keywords())
    while True:
        lines.pending = []
        try:
            record: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            record = error
        pending = [line for _, line in lines.pending]
        if isinstance(record, csv.Error):
            lines.give_back(pending[1:])
            reader = csv.reader(lines.feed(), **dialect.keywords())
        elif not record or (len(record) == 1 and not record[0].strip()):
            continue
        yield lines.pending[0][0], record, pending, lines


def header(cells: list[str]) -> tuple[list[str], bool]:
    """(column names, whether `cells` is a header). Long or sentence-like cells are data; then columns are numbered."""
    names = [str(cell).strip() for cell in cells]
    if any(len(name) > 100 or "\n" in name or re.search(r"[.!?。！？]$", name) for name in names) or not any(names):
        return [f"column {index}" for index in range(1, len(cells) + 1)], False
    found: list[str] = []
    for index, name in enumerate(names, start=1):
        base = name or f"column {index}"
        unique, copy = base, 1
        while unique in found:
            copy += 1
            unique = f"{base} ({copy})"
        found.append(unique)
    return found, True

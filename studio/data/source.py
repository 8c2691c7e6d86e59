"""An opened source of rows: yields the rows of a reader and collects the problems that the reader reports.

Invariant: rows in the file = rows yielded + rows reported. Independent of formats and of the meaning of columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.data.rows import Problem, Problems, Row, place
from studio.words import Sentence, StudioError

_PEEK = 1000
_UNITS = {"jsonl": "line", "csv": "line", "tsv": "line", "text": "line", "markdown": "line", "xlsx": "sheet row"}


class Source:
    """An opened source of rows.

    path: the file (None for the hub); name: how messages refer to it; format: a key of `formats.TITLES`; encoding:
    codec name, None for binary formats; unit: what `Row.number` counts (line, record or sheet row); columns: names in
    file order, from the header or the first rows; problems: those reported by the latest pass of `rows()`; parted:
    whether some rows are marked as validation data (`Row.is_validation`); evidence: assumptions of the latest pass
    about an unusual file.
    """

    def __init__(
        self,
        path: Path | None,
        name: str,
        format: str,
        reader: Callable[[Source], Iterator[Row]],
        encoding: str | None = None,
        origin: str = "",
    ):
        self.path, self.name, self.format, self.encoding = path, name, format, encoding
        self.unit = _UNITS.get(format, "record")
        self.origin = origin or str(path)
        self.columns: list[str] = []
        self.layout: list[str] = []
        self.parted = False
        self.problems, self.evidence = Problems(), []
        self._reader = reader

    def rows(self) -> Iterator[Row]:
        """Yield every readable row. Raises StudioError if the file cannot be read further."""
        self.problems, self.evidence = Problems(), []
        try:
            yield from self._reader(self)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def report(self, number: int, kind: str, text: str, **values) -> None:
        """Report that the row at `number` cannot be read; `text` begins with {place}."""
        sentence = Sentence(text, place=place(self.name, number, self.unit), **values)
        self.problems.add(Problem(number, sentence, kind))

    def report_bytes(self, number: int) -> None:
        self.report(
            number,
            "bytes",
            "{place} holds bytes that are not {encoding} text. Save the file as UTF-8, or correct that place.",
            encoding=self.encoding,
        )

    def warn(self, number: int, kind: str, text: str, **values) -> None:
        """Report a problem that costs no row."""
        self.problems.add(Problem(number, Sentence(text, **values), kind, level="warning"))

    def peek(self) -> Source:
        """Fill `columns` from the first rows. Raises StudioError if no row can be read."""
        first = list(itertools.islice(self.rows(), _PEEK))
        names = dict.fromkeys(self.layout)
        for row in first:
            names.update(dict.fromkeys(row.values))
        self.columns = list(names)
        if first:
            return self
        problem = next((problem for problem in self.problems if problem.level == "error"), None)
        if problem is None:
            raise StudioError(
                "{name} holds no rows. Put at least one example in it, or choose another file.", name=self.name
            )
        raise StudioError(
            "{count:The only row|None of the {count} rows} of {name} {count:cannot|can} be read. The first: {reason}",
            count=self.problems.rows,
            name=self.name,
            reason=problem.sentence,
        )


def unreadable(name: str, error: OSError) -> StudioError:
    """The StudioError for a file that the operating system cannot open or read."""
    if isinstance(error, FileNotFoundError):
        return StudioError("There is no file {name}. Check the path, or choose the file again.", name=name)
    if isinstance(error, PermissionError):
        return StudioError(
            "The file {name} may not be read by this program. Change its permissions, or copy it.", name=name
        )
    return StudioError(
        "{name} cannot be read ({detail}). Check the disk, or copy the file.",
        name=name,
        detail=error.strerror or str(error),
    )

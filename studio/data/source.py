"""One opened source of rows, which a reader yields row by row, and which keeps what the reader reports.

Rows in the file = rows yielded + rows reported. Knows nothing about formats, nor about what columns mean.
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
    """One opened source of rows.

    path: the file (None for the hub); name: what sentences call it; format: a key of `formats.TITLES`; encoding: a
    codec name, None for binary formats; unit: what `Row.number` counts (line, record or sheet row); columns: names in the order
    of the file, from its header or its first rows; problems: what the latest pass of `rows()` reported; parted: some of its rows are
    there to be measured on (`Row.apart`); evidence: what the latest pass took for granted, where the file is not as usual.
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
        """Every readable row. Raises StudioError where the file as a whole cannot be read on."""
        self.problems, self.evidence = Problems(), []
        try:
            yield from self._reader(self)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def report(self, number: int, kind: str, text: str, **values) -> None:
        """Records that the row at `number` cannot be read; `text` opens with {place}."""
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
        """Records something about the source that costs no row."""
        self.problems.add(Problem(number, Sentence(text, **values), kind, level="warning"))

    def peek(self) -> Source:
        """Fills `columns` from the first rows; raises StudioError if there is no row to be read."""
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
    """The sentence for a file that the system does not give us."""
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

"""Rows, problems and the words for places in a file. Knows nothing about formats or mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from studio.words import Sentence, StudioError

KEPT_PER_KIND = 100
"""Problems kept as examples for each kind; the rest is only counted, so that memory stays bounded."""

KINDS = {
    "broken": Sentence("Cannot be read"),
    "bytes": Sentence("Wrong encoding"),
    "fields": Sentence("Wrong number of fields"),
    "shape": Sentence("Not of the expected shape"),
    "missing": Sentence("Column missing in the row"),
    "empty": Sentence("Empty"),
    "order": Sentence("Order of roles broken"),
    "role": Sentence("Unknown role"),
    "same": Sentence("Chosen and rejected are the same"),
    "bad": Sentence("Marked as bad answers"),
    "calls": Sentence("Answers that call tools"),
    "media": Sentence("Pictures, sound or video"),
    "unused": Sentence("Columns not used"),
    "worse": Sentence("Worse answers"),
    "duplicate": Sentence("Exact duplicates"),
    "validation_duplicate": Sentence("Exact duplicates in the validation data"),
    "near_duplicate": Sentence("Near duplicates"),
    "same_all": Sentence("All rows the same"),
    "nothing": Sentence("Nothing to learn in the row"),
    "secret": Sentence("Keys and e-mail addresses"),
    "language": Sentence("Languages"),
    "weight": Sentence("Left out by the file's weight"),
    "leakage": Sentence("In training and validation data"),
    "prompt_leakage": Sentence("Same question in training and validation data"),
    "long": Sentence("Longer than the limit"),
    "still_long": Sentence("Still longer than the limit"),
    "pieces": Sentence("Learnt in pieces"),
    "unseen": Sentence("Not seen by the model"),
    "refused": Sentence("Refused by the chat template"),
    "unfound": Sentence("Answer not found"),
    "marked": Sentence("Marked as learnt"),
    "no_end": Sentence("No end of an answer"),
    "spelling": Sentence("Labels written in several ways"),
    "imbalance": Sentence("Labels out of balance"),
    "control": Sentence("Control characters"),
    "mojibake": Sentence("Garbled characters"),
    "left_aside": Sentence("Not read"),
    "header": Sentence("No header row"),
    "validation": Sentence("Validation data"),
    "apart": Sentence("Validation rows"),
}
"""Title of each kind of problem."""


class Row(NamedTuple):
    """One row as the file has it. number: line (or record) number from 1; file: the member, inside a zip of several; apart: it stands
    in a part of the source that is called test or validation."""

    number: int
    values: dict[str, Any]
    file: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Problem:
    """Something at one place of a file. An `error` is a row that is not used, a `warning` is not about one lost row."""

    line: int
    sentence: Sentence
    kind: str
    level: str = "error"
    file: str = ""


class RowProblem(StudioError):
    """One row cannot be used; `kind` is a key of `KINDS`."""

    def __init__(self, kind: str, text: str | Sentence, /, **values):
        super().__init__(text, **values)
        self.kind = kind


@dataclass
class Problems:
    """Problems counted by kind, with the first `KEPT_PER_KIND` of each kind kept. Iterating gives the kept ones."""

    kept: list[Problem] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem) -> None:
        counts = self.errors if problem.level == "error" else self.warnings
        counts[problem.kind] += 1
        if counts[problem.kind] <= KEPT_PER_KIND:
            self.kept.append(problem)

    @property
    def rows(self) -> int:
        """How many rows were reported as not usable."""
        return self.errors.total()

    def merge(self, other: Problems, file: str = "") -> None:
        """Adds what `other` holds, its examples only as far as there is room. file: where those are that name none."""
        have = Counter((problem.level, problem.kind) for problem in self.kept)
        for problem in other.kept:
            have[problem.level, problem.kind] += 1
            if have[problem.level, problem.kind] <= KEPT_PER_KIND:
                self.kept.append(problem if problem.file else replace(problem, file=file))
        self.errors.update(other.errors)
        self.warnings.update(other.warnings)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.kept)

    def __len__(self) -> int:
        return self.errors.total() + self.warnings.total()


@dataclass
class Counts:
    """What became of a file's rows: rows = used + sum of skipped (kind → rows)."""

    rows: int = 0
    used: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def leave_out(self, kind: str, rows: int) -> None:
        """`rows` that were used are skipped after all."""
        self.used -= rows
        self.skipped[kind] = self.skipped.get(kind, 0) + rows

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows, self.used + other.used, dict(Counter(self.skipped) + Counter(other.skipped))
        )


def place(name: str, number: int, unit: str) -> Sentence:
    """Where a row stands, to open a sentence with: "Line 7 of captain.jsonl"."""
    if unit == "line":
        return Sentence("Line {number} of {name}", number=number, name=name)
    if unit == "sheet row":
        return Sentence("Row {number} of {name}", number=number, name=name)
    return Sentence("Record {number} of {name}", number=number, name=name)

"""Rows, problems, row counts and the wording of positions in a file. Independent of formats and mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from studio.words import Sentence, StudioError

KEPT_PER_KIND = 100
"""Maximum number of problems stored per kind and level; further ones are only counted, to bound memory."""

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
    "tie": Sentence("No answer is the better one"),
    "bad": Sentence("Marked as bad answers"),
    "calls": Sentence("Answers that call tools"),
    "media": Sentence("Pictures, sound or video"),
    "unused": Sentence("Columns not used"),
    "unused_keys": Sentence("Keys of messages not used"),
    "worse": Sentence("Worse answers"),
    "grades": Sentence("Grades not used"),
    "duplicate": Sentence("Exact duplicates"),
    "validation_duplicate": Sentence("Exact duplicates in the validation data"),
    "near_duplicate": Sentence("Near duplicates"),
    "same_all": Sentence("All rows the same"),
    "nothing": Sentence("Nothing to train on in the row"),
    "secret": Sentence("Keys and e-mail addresses"),
    "language": Sentence("Languages"),
    "weight": Sentence("Left out by the file's weight"),
    "leakage": Sentence("In training and validation data"),
    "prompt_leakage": Sentence("Same question in training and validation data"),
    "long": Sentence("Longer than the limit"),
    "still_long": Sentence("Still longer than the limit"),
    "pieces": Sentence("Split into several examples"),
    "unseen": Sentence("Not seen by the model"),
    "refused": Sentence("Refused by the chat template"),
    "unfound": Sentence("Answer not found"),
    "marked": Sentence("Marked to be trained on"),
    "no_end": Sentence("No end of an answer"),
    "spelling": Sentence("Labels written in several ways"),
    "imbalance": Sentence("Labels out of balance"),
    "control": Sentence("Control characters"),
    "mojibake": Sentence("Garbled characters"),
    "left_aside": Sentence("Not read"),
    "header": Sentence("No header row"),
    "validation": Sentence("Validation data"),
    "own_validation": Sentence("Validation rows"),
}
"""Title of each kind of problem or finding."""


class Row(NamedTuple):
    """One row as in the file.

    number: line or record number, from 1; file: the archive member, if there are several; is_validation: whether it
    belongs to a part of the source named as test or validation data.
    """

    number: int
    values: dict[str, Any]
    file: str = ""
    is_validation: bool = False


@dataclass(frozen=True)
class Problem:
    """A problem at one position of a file. Level `error`: the row is skipped; `warning`: no row is lost."""

    line: int
    sentence: Sentence
    kind: str
    level: str = "error"
    file: str = ""


class RowProblem(StudioError):
    """A row cannot be used. kind: a key of `KINDS`."""

    def __init__(self, kind: str, text: str | Sentence, /, **values):
        super().__init__(text, **values)
        self.kind = kind


@dataclass
class Problems:
    """Problems counted by level and kind; the first `KEPT_PER_KIND` of each are stored, and iterated over."""

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
        """Number of rows reported as unusable."""
        return self.errors.total()

    def merge(self, other: Problems, file: str = "") -> None:
        """Add the problems of `other`, storing them up to the limit. file: set as file of those that have none."""
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
    """Row counts of a file: rows = used + sum of skipped (kind → rows)."""

    rows: int = 0
    used: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def leave_out(self, kind: str, rows: int) -> None:
        """Move `rows` from used to skipped."""
        self.used -= rows
        self.skipped[kind] = self.skipped.get(kind, 0) + rows

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows, self.used + other.used, dict(Counter(self.skipped) + Counter(other.skipped))
        )


def place(name: str, number: int, unit: str) -> Sentence:
    """Position of a row, as the beginning of a sentence: "Line 7 of captain.jsonl"."""
    if unit == "line":
        return Sentence("Line {number} of {name}", number=number, name=name)
    if unit == "sheet row":
        return Sentence("Row {number} of {name}", number=number, name=name)
    return Sentence("Record {number} of {name}", number=number, name=name)

"""Result type of the data checks: severity, affected rows and applicable remedies. The checks are in other modules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from studio.data.dataset import Dataset
from studio.data.records import Records
from studio.data.remedies import REMEDIES
from studio.data.rows import KINDS
from studio.words import Sentence

LEVELS = ("block", "error", "warning", "info")
"""Severity. block: training would be useless; error: rows are lost; warning: to be checked; info: for information."""
EXAMPLES = 20
"""Maximum number of line numbers listed per finding."""


@dataclass
class Finding:
    """One finding on the data.

    kind: a key of `KINDS`; level: one of `LEVELS`; count: affected rows, or columns for kind "unused"; lines: line
    numbers of the first ones; files: the file of each line, empty if the data is one file; actions: those of the
    remedies for this kind that apply here, None for all; templates: chat templates that could be used instead.
    """

    kind: str
    level: str
    sentence: Sentence
    count: int
    lines: list[int]
    files: list[str] = field(default_factory=list)
    actions: tuple[str, ...] | None = None
    templates: tuple[str, ...] = ()

    @property
    def remedies(self) -> dict[str, Sentence]:
        """Action → button label."""
        return {
            action: text
            for action, text in REMEDIES.get(self.kind, {}).items()
            if self.actions is None or action in self.actions
        }

    @property
    def title(self) -> Sentence:
        """Title of this kind of finding."""
        return KINDS[self.kind]


def by_level(findings: list[Finding]) -> list[Finding]:
    """Sort `findings` by severity, then by number of affected rows."""
    return sorted(findings, key=lambda finding: (LEVELS.index(finding.level), -finding.count))


def lines_of(dataset: Dataset, records: Records, which: np.ndarray) -> tuple[list[int], dict, list[str]]:
    """(first line numbers, values for {unit} and {line} of the first one, their files) of the selected records.

    which: boolean mask over `records`. At most `EXAMPLES` lines are given.
    """
    found = Records(records.store, records.indices[which][:EXAMPLES])
    numbers, files = places(
        (int(number), found.store.file(int(index))) for number, index in zip(found.numbers, found.indices, strict=True)
    )
    line = (
        Sentence("{line} of {file}", line=numbers[0], file=files[0])
        if files and files[0]
        else numbers[0]
        if numbers
        else 0
    )
    return numbers, {"unit": Sentence(dataset.unit), "line": line}, files


def places(rows: Iterable[tuple[int, str]]) -> tuple[list[int], list[str]]:
    """(first line numbers, file of each or [] if no file is named) of (line, file) pairs."""
    first = list(itertools.islice(rows, EXAMPLES))
    files = [file for _, file in first]
    return [line for line, _ in first], files if any(files) else []


def once(records: Records) -> Records:
    """`records` without the repetitions that come from a file's weight."""
    return Records(records.store, np.unique(records.indices))

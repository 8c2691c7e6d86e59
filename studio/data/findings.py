"""What a check of the data found: how grave it is, which rows it is about, and what can be done.

Knows nothing about the checks themselves.
"""

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
"""block: the run would be for nothing; error: rows are lost; warning: look at it; info: good to know."""
EXAMPLES = 20
"""Line numbers given for each finding."""


@dataclass
class Finding:
    """One thing to know about the data. count: rows it is about; lines: the first of them; files: of each line, where there are several
    files; actions: which of the known remedies make sense here, None for all of them; templates: chat templates that could be lent instead."""

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
        """Action → what its button says."""
        return {
            action: text
            for action, text in REMEDIES.get(self.kind, {}).items()
            if self.actions is None or action in self.actions
        }

    @property
    def title(self) -> Sentence:
        return KINDS[self.kind]


def by_level(findings: list[Finding]) -> list[Finding]:
    """`findings`, the gravest first."""
    return sorted(findings, key=lambda finding: (LEVELS.index(finding.level), -finding.count))


def lines_of(dataset: Dataset, records: Records, which: np.ndarray) -> tuple[list[int], dict, list[str]]:
    """The first line numbers of the records that `which` selects, the values that name the first of them, and their files."""
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
    """(the first line numbers, the file of each where any is named), from the line and the file of each row."""
    first = list(itertools.islice(rows, EXAMPLES))
    files = [file for _, file in first]
    return [line for line, _ in first], files if any(files) else []


def once(records: Records) -> Records:
    """`records` without the repetitions that a weight asks for."""
    return Records(records.store, np.unique(records.indices))

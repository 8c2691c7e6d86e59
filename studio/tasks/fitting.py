"""Rows that make more tokens than training keeps of one: left out, or shortened at the front so that their end fits.

One place for token view, length histogram, forecast, training and the playground. Whether a record fits, the task's own `encode`
says; this module knows nothing about files, tokens or batches.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from studio.data.records import Record, Records
from studio.models.codec import Codec, TemplateRefusal
from studio.tasks.base import Encoded

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # kana, Chinese characters, Hangul: each may begin a line
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")


class Fitting:
    """What the remedy for over-long rows that a recipe (a `studio.recipe.Recipe`) asks for makes of a record. action: "drop", "trim", or
    "" where such rows are cut at the end."""

    def __init__(self, recipe, codec: Codec):
        self.task, self.codec, self.length = recipe.task, codec, recipe.training.max_length
        self.action = recipe.data.remedies.get("long", "")

    def __call__(self, record: dict) -> dict | None:
        """The record as it is learnt: the very same where it fits or cannot be made to, else shortened; None where it is left out."""
        if not self.action or self.fits(record):
            return record
        return None if self.action == "drop" else shortened(record, self.fits)

    def examples(self, record: dict) -> list[Encoded]:
        """What training gets of the record; nothing where it is left out or the chat template refuses it."""
        labelled = self(record)
        try:
            return [] if labelled is None else self.task.encode(labelled, self.codec, self.length)
        except TemplateRefusal:
            return []

    def fits(self, record: dict) -> bool:
        """Whether nothing of the record is cut off. What the chat template refuses is not for this remedy to judge."""
        try:
            return not any(
                row.cut for part in self.task.encode(record, self.codec, self.length) for row in part.sequences
            )
        except TemplateRefusal:
            return True


def shortened(record: dict, fits: Callable[[dict], bool]) -> dict:
    """`record`, which does not fit, without as many of its oldest exchanges (a question with all that answers it) as it takes, and where the last one
    alone is too long, without the first words of its question; a text without its first words.

    System texts, tools and answers stay whole. The very record itself where even that does not make it fit.
    """
    key = next((key for key in ("messages", "prompt") if key in record), None)
    if key is None:
        return _front_cut(record["text"], lambda text: {**record, "text": text}, fits) or record
    turns = record[key]
    starts = [at for at, turn in enumerate(turns) if turn["role"] == "user"]
    if not starts:
        return record

    def since(at: int) -> dict:
        return {**record, key: turns[: starts[0]] + turns[at:]}

    later = _earliest(starts[1:], lambda at: fits(since(at)))
    if later is not None:
        return since(later)
    head, question, tail = turns[: starts[0]], turns[starts[-1]], turns[starts[-1] + 1 :]
    return (
        _front_cut(
            question["content"], lambda text: {**record, key: [*head, {**question, "content": text}, *tail]}, fits
        )
        or record
    )


def _front_cut(text: str, made: Callable[[str], dict], fits: Callable[[dict], bool]) -> dict | None:
    """The record that `made` makes of the longest end of `text` that begins with a word and fits; None if not even one word does."""
    words = [found.start() for found in _WORD.finditer(text)]
    start = _earliest(words, lambda start: fits(made(text[start:])))
    return None if start is None else made(text[start:])


def _earliest(starts: list[int], fits: Callable[[int], bool]) -> int | None:
    """The first of `starts` (in order) from which what follows fits; None if not even the last one does. Short ends are tried first."""
    step, fitting = 1, len(starts)
    while fitting and fits(starts[max(0, fitting - step)]):
        fitting, step = max(0, fitting - step), 2 * step
    at = bisect_left(starts, True, lo=max(0, fitting - step) + 1, hi=fitting, key=fits) if fitting else 0
    return starts[at] if at < len(starts) else None


@dataclass
class Fitted:
    """records: what is learnt or measured; changed: how many were left out or shortened."""

    records: Records
    changed: int


def fitted(records: Records, fitting: Fitting, values: Iterable[dict]) -> Fitted:
    """`records`, whose `values` are, as the remedy leaves them; shortened ones are made when they are read."""
    if not fitting.action:
        return Fitted(records, 0)
    changed = np.fromiter((fitting(value) is not value for value in values), bool, len(records))
    kept = (
        Records(records.store, records.indices[~changed])
        if fitting.action == "drop"
        else _Shortened(records, changed, fitting)
    )
    return Fitted(kept, int(changed.sum()))


class _Shortened(Records):
    """Records of which those that `changed` marks are shortened when they are read."""

    def __init__(self, records: Records, changed: np.ndarray, fitting: Fitting):
        super().__init__(records.store, records.indices)
        self.changed, self.fitting = changed, fitting

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, slice | np.ndarray):
            return _Shortened(found, self.changed[index], self.fitting)
        return found._replace(value=self.fitting(found.value)) if self.changed[index] else found

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

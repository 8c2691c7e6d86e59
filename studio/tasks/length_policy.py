"""Records longer than the max sequence length: dropped, or trimmed at the front so that their end fits.

Used alike by token view, length histogram, forecast, training and classification in Chat. Whether a record fits is
decided by the task's own `encode`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from studio.data.records import Record, Records
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.tasks.base import Encoded

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # kana, Chinese characters, Hangul: each counts as a word
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")


class LengthPolicy:
    """Applies a recipe's fix for over-long rows to records.

    action: "drop", "trim", or "" (such rows are truncated at the end).
    """

    def __init__(self, recipe, tokenizer: ChatTokenizer):
        self.task, self.tokenizer, self.max_length = recipe.task, tokenizer, recipe.training.max_length
        self.action = recipe.data.remedies.get("long", "")

    def __call__(self, record: dict) -> dict | None:
        """The record to train on: trimmed if necessary and possible, else unchanged; None if it is dropped."""
        if not self.action or self.fits(record):
            return record
        return None if self.action == "drop" else trim_record(record, self.fits)

    def examples(self, record: dict) -> list[Encoded]:
        """The encoded examples of the record; empty if it is dropped or the chat template rejects it."""
        labelled = self(record)
        try:
            return [] if labelled is None else self.task.encode(labelled, self.tokenizer, self.max_length)
        except ChatTemplateError:
            return []

    def fits(self, record: dict) -> bool:
        """Whether no token of the record is truncated. Records that the chat template rejects count as fitting; they
        are reported elsewhere.
        """
        try:
            return not any(
                row.truncated_tokens
                for part in self.task.encode(record, self.tokenizer, self.max_length)
                for row in part.sequences
            )
        except ChatTemplateError:
            return True


def trim_record(record: dict, fits: Callable[[dict], bool]) -> dict:
    """Trim `record` at the front until it fits.

    Removes as few of the oldest exchanges (a question and the answers to it) as possible; if the last exchange alone is
    too long, removes the first words of its question. Of a plain text, removes the first words. System messages before
    the first question, tools and remaining answers stay complete. Returns the same object if it cannot be made to fit.
    """
    key = next((key for key in ("messages", "prompt") if key in record), None)
    if key is None:
        return _trim_front(record["text"], lambda text: {**record, "text": text}, fits) or record
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
        _trim_front(
            question["content"], lambda text: {**record, key: [*head, {**question, "content": text}, *tail]}, fits
        )
        or record
    )


def _trim_front(text: str, made: Callable[[str], dict], fits: Callable[[dict], bool]) -> dict | None:
    """`made(end)` for the longest end of `text` that starts at a word and fits; None if not even the last word does.

    made: builds a record from a text.
    """
    words = [found.start() for found in _WORD.finditer(text)]
    start = _earliest(words, lambda start: fits(made(text[start:])))
    return None if start is None else made(text[start:])


def _earliest(starts: list[int], fits: Callable[[int], bool]) -> int | None:
    """The first of `starts` (sorted) from which the rest fits; None if not even the last one does.

    Exponential search from the end, then binary search, so that mostly short texts are encoded.
    """
    step, low = 1, len(starts)
    while low and fits(starts[max(0, low - step)]):
        low, step = max(0, low - step), 2 * step
    at = bisect_left(starts, True, lo=max(0, low - step) + 1, hi=low, key=fits) if low else 0
    return starts[at] if at < len(starts) else None


@dataclass
class LengthLimited:
    """Records after a length policy. changed: number of records that were dropped or trimmed."""

    records: Records
    changed: int


def apply_length_policy(records: Records, length_policy: LengthPolicy, values: Iterable[dict]) -> LengthLimited:
    """Apply the policy to `records`, whose values are `values`. Records are trimmed lazily, when they are read."""
    if not length_policy.action:
        return LengthLimited(records, 0)
    changed = np.fromiter((length_policy(value) is not value for value in values), bool, len(records))
    kept = (
        Records(records.store, records.indices[~changed])
        if length_policy.action == "drop"
        else _TrimmedRecords(records, changed, length_policy)
    )
    return LengthLimited(kept, int(changed.sum()))


class _TrimmedRecords(Records):
    """Records of which those with a True in the mask `changed` are trimmed when they are read."""

    def __init__(self, records: Records, changed: np.ndarray, length_policy: LengthPolicy):
        super().__init__(records.store, records.indices)
        self.changed, self.length_policy = changed, length_policy

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, slice | np.ndarray):
            return _TrimmedRecords(found, self.changed[index], self.length_policy)
        return found._replace(value=self.length_policy(found.value)) if self.changed[index] else found

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

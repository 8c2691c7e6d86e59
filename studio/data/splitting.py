"""Steps that need all records at once: train/validation split, remedies that remove or move records, file weights.

Every choice depends only on record contents and the seed, so that the user interface and the training process, and
repeated runs of a recipe, select the same rows. Each removed record is counted as skipped for its file. Independent of
how rows were read.
"""

from __future__ import annotations

import numpy as np

from studio.data.fingerprints import ALIKE, CONTROL, EMAIL, KEY, MEDIA, MOJIBAKE, candidates, similarity
from studio.data.records import Records, RecordStore, texts
from studio.data.rows import Counts, Problem, Problems, place
from studio.data.source import Source
from studio.words import Sentence

COMPARED = 20_000
"""Maximum number of candidate pairs of near duplicates that are compared.

If there are more, the number of near duplicates is reported as "at least".
"""
RATIO = 10
"""Ratio of the most frequent to the rarest label from which labels count as imbalanced."""
APART = 2_000
"""Maximum number of distinct records in the validation split.

It gives a rate a 95 % confidence interval of about ±2 percentage points, and keeps evaluations short.
"""
FLAGS = {"control": CONTROL, "mojibake": MOJIBAKE, "secret": EMAIL | KEY, "media": MEDIA}
_SAID_LEAKS = 100


def mix(values: np.ndarray, seed: int) -> np.ndarray:
    """splitmix64 (Steele, Lea & Flood 2014) of values and seed."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def duplicate_rows(records: Records) -> np.ndarray:
    """Boolean mask: True for each record that equals an earlier one."""
    _, first = np.unique(records.digests, return_index=True)
    again = np.ones(len(records), dtype=bool)
    again[first] = False
    return again


def near_duplicate_rows(records: Records) -> tuple[np.ndarray, bool]:
    """Return (positions of near duplicates, whether all candidate pairs were compared).

    A near duplicate is similar to an earlier record (`fingerprints.ALIKE`) but not equal to it.
    """
    own = np.flatnonzero(~duplicate_rows(records))
    pairs = own[candidates(records.marks("bands")[own])]
    found: set[int] = set()
    compared = 0
    for later, earlier in pairs.tolist():
        if later in found:
            continue
        if compared == COMPARED:
            return np.array(sorted(found), np.int64), False
        compared += 1
        one, other = ("\n".join(texts(records[at].value)) for at in (later, earlier))
        if similarity(one, other) >= ALIKE:
            found.add(later)
    return np.array(sorted(found), np.int64), True


class Splitter:
    """Divides the records of a store into `train` and `validation` and applies remedies and weights.

    counts: row counts of each file, in reading order; updated when records are removed.
    """

    def __init__(self, store: RecordStore, counts: list[Counts], problems: Problems, remedied: dict[str, int]):
        self.store, self.counts, self.problems, self.remedied = store, counts, problems, remedied
        self.train = self.validation = Records(store, np.arange(0))

    def split(self, fraction: float, seed: int) -> None:
        """Move the share `fraction` of the distinct records to the validation split, by a hash of content and seed.

        Equal records are always in the same split. The split does not depend on the order of rows, and rows added later
        change it only slightly.
        """
        every = Records(self.store, np.arange(len(self.store)))
        different = np.unique(every.digests)
        count = min(max(1, round(fraction * len(different))), len(different) - 1, APART) if fraction else 0
        held_digests = different[np.argsort(mix(different, seed), kind="stable")[:count]]
        held = np.isin(every.digests, held_digests)
        self.train, self.validation = (
            Records(self.store, every.indices[~held]),
            Records(self.store, every.indices[held]),
        )

    def use_as_validation(self, sources: list[Source]) -> None:
        """Use the records that were read as validation data, without those that are also in the training data.

        These would bias the evaluation, so they are removed and reported. sources: the files that were read, in order.
        """
        every = Records(self.store, np.arange(len(self.store)))
        held = every.column("is_validation") > 0
        self.train, self.validation = (
            Records(self.store, every.indices[~held]),
            Records(self.store, every.indices[held]),
        )
        leaked = np.isin(self.validation.digests, self.train.digests)
        text = Records(self.store, self.validation.indices[leaked][:_SAID_LEAKS])
        for index, part, number in zip(text.indices, text.column("parts"), map(int, text.numbers), strict=True):
            file = self.store.file(int(index))
            sentence = Sentence(
                "{place} is also in the training data, so it is left out of the validation set. Remove it from one of "
                "the two.",
                place=place(file or sources[part].name, number, sources[part].unit),
            )
            self.problems.add(Problem(number, sentence, "leakage", "warning", file))
        self.problems.warnings.update(
            {"leakage": max(0, int(leaked.sum()) - _SAID_LEAKS)} if leaked.sum() > _SAID_LEAKS else {}
        )
        self.validation = self._without(self.validation, leaked, "leakage")

    def _without(self, records: Records, mask: np.ndarray, kind: str, remedy: bool = False) -> Records:
        """Return `records` without those where `mask` is True, which are counted as skipped for their file."""
        for part, rows in zip(*np.unique(records.column("parts")[mask], return_counts=True), strict=True):
            self.counts[part].leave_out(kind, int(rows))
        if remedy and mask.any():
            self.remedied[kind] = self.remedied.get(kind, 0) + int(mask.sum())
        return Records(records.store, records.indices[~mask])

    def remedy(self, remedies: dict[str, str], want: str, seed: int) -> None:
        """Apply the remedies that remove or move records."""
        for kind, flag in FLAGS.items():
            if remedies.get(kind) == "drop":
                for side in ("train", "validation"):
                    records = getattr(self, side)
                    setattr(self, side, self._without(records, records.marks("flags") & flag > 0, kind, remedy=True))
        if "prompt_leakage" in remedies and want != "text":
            self._part_questions(remedies["prompt_leakage"])
        if "duplicate" in remedies:
            self.train = self._without(self.train, duplicate_rows(self.train), "duplicate", remedy=True)
        if "validation_duplicate" in remedies:
            self.validation = self._without(
                self.validation, duplicate_rows(self.validation), "validation_duplicate", remedy=True
            )
        if "near_duplicate" in remedies and want != "image":  # images have no text to compare
            again = np.zeros(len(self.train), bool)
            again[near_duplicate_rows(self.train)[0]] = True
            self.train = self._without(self.train, again, "near_duplicate", remedy=True)
        if "imbalance" in remedies:
            self.train = self._without(self.train, self._too_frequent(seed), "imbalance", remedy=True)

    def _part_questions(self, action: str) -> None:
        """Move validation records whose input is also in the training data to the training split, or remove them."""
        same = np.isin(self.validation.inputs, self.train.inputs)
        if action == "move" and same.any():
            self.train = Records(
                self.store, np.sort(np.concatenate([self.train.indices, self.validation.indices[same]]))
            )
            self.remedied["prompt_leakage"] = int(same.sum())
            self.validation = Records(self.store, self.validation.indices[~same])
        else:
            self.validation = self._without(self.validation, same, "prompt_leakage", remedy=True)

    def _too_frequent(self, seed: int) -> np.ndarray:
        """Boolean mask: True for training records to remove to balance the labels.

        Without them, every label has less than `RATIO` times the records of the rarest one.
        """
        labels, names = self.train.column("labels"), self.store.label_names
        beyond = np.zeros(len(labels), bool)
        counts = np.bincount(labels, minlength=len(names) + 1)[1:]
        if not counts.any():
            return beyond
        limit = RATIO * int(counts[counts > 0].min()) - 1
        order = mix(self.train.digests, seed)
        for label in np.flatnonzero(counts > limit) + 1:
            members = np.flatnonzero(labels == label)
            beyond[members[np.argsort(order[members], kind="stable")[limit:]]] = True
        return beyond

    def draw(self, weights: list[float], seed: int) -> None:
        """Repeat the training records of each file according to its weight.

        For the fractional part of a weight, records are selected by a hash of their content. Records that are never
        selected count as skipped.
        """
        if all(weight == 1 for weight in weights):
            return
        weight = np.asarray(weights)[self.train.column("parts")]
        chance = mix(self.train.digests, seed + 1).astype(np.float64) / 2.0**64
        times = np.floor(weight).astype(np.int64) + (chance < weight % 1)
        kept = self._without(self.train, times == 0, "weight")
        self.train = Records(self.store, np.repeat(kept.indices, times[times > 0]))

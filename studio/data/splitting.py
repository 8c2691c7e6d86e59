"""What is done to all records together once they are read: parting off the validation ones, remedies that leave out or move, weights.

Everything is decided by content and seed, so that window and worker, and every run of a recipe, come to the same rows. Every
record that leaves is counted for the file that it came from. Knows nothing about how rows were read.
"""

from __future__ import annotations

import numpy as np

from studio.data.fingerprints import ALIKE, CONTROL, EMAIL, KEY, MEDIA, MOJIBAKE, candidates, similarity
from studio.data.records import Records, RecordStore, texts
from studio.data.rows import Counts, Problem, Problems, place
from studio.data.source import Source
from studio.words import Sentence

COMPARED = 20_000
"""Pairs of likely near duplicates that are read and compared; beyond that, "at least" is said."""
RATIO = 10
"""From here the rarest label is called out of balance with the most frequent one."""
APART = 2_000
"""Different records that are kept apart at most: enough for a rate's 95 % interval of two points to either side, and not a long wait at each evaluation."""
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
    """True for each record that an earlier one equals."""
    _, first = np.unique(records.digests, return_index=True)
    again = np.ones(len(records), dtype=bool)
    again[first] = False
    return again


def near_duplicate_rows(records: Records) -> tuple[np.ndarray, bool]:
    """(positions of records that are nearly an earlier one but not exactly, whether all likely pairs were compared)."""
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
    """The records of a dataset on their way to `train` and `validation`. counts: of each file that was read, in order."""

    def __init__(self, store: RecordStore, counts: list[Counts], problems: Problems, remedied: dict[str, int]):
        self.store, self.counts, self.problems, self.remedied = store, counts, problems, remedied
        self.train = self.validation = Records(store, np.arange(0))

    def split(self, fraction: float, seed: int) -> None:
        """Keeps a share of the different records apart, chosen by content and seed: equal records always fall on the same
        side, and neither the order of the file nor rows added later move the others far."""
        every = Records(self.store, np.arange(len(self.store)))
        different = np.unique(every.digests)
        count = min(max(1, round(fraction * len(different))), len(different) - 1, APART) if fraction else 0
        apart = different[np.argsort(mix(different, seed), kind="stable")[:count]]
        held = np.isin(every.digests, apart)
        self.train, self.validation = (
            Records(self.store, every.indices[~held]),
            Records(self.store, every.indices[held]),
        )

    def use_as_validation(self, sources: list[Source]) -> None:
        """Parts off what was read to be measured on; what is also learnt is not measured on, which would flatter the result.
        sources: the files that were read, in order."""
        every = Records(self.store, np.arange(len(self.store)))
        held = every.column("apart") > 0
        self.train, self.validation = (
            Records(self.store, every.indices[~held]),
            Records(self.store, every.indices[held]),
        )
        leaked = np.isin(self.validation.digests, self.train.digests)
        text = Records(self.store, self.validation.indices[leaked][:_SAID_LEAKS])
        for index, part, number in zip(text.indices, text.column("parts"), map(int, text.numbers), strict=True):
            file = self.store.file(int(index))
            sentence = Sentence(
                "{place} is also in the training data, so it is not measured on. Remove it from one of the two.",
                place=place(file or sources[part].name, number, sources[part].unit),
            )
            self.problems.add(Problem(number, sentence, "leakage", "warning", file))
        self.problems.warnings.update(
            {"leakage": max(0, int(leaked.sum()) - _SAID_LEAKS)} if leaked.sum() > _SAID_LEAKS else {}
        )
        self.validation = self._without(self.validation, leaked, "leakage")

    def _without(self, records: Records, mask: np.ndarray, kind: str, remedy: bool = False) -> Records:
        """`records` without those where `mask` is true, each counted as skipped for its file."""
        for part, rows in zip(*np.unique(records.column("parts")[mask], return_counts=True), strict=True):
            self.counts[part].leave_out(kind, int(rows))
        if remedy and mask.any():
            self.remedied[kind] = self.remedied.get(kind, 0) + int(mask.sum())
        return Records(records.store, records.indices[~mask])

    def remedy(self, remedies: dict[str, str], want: str, seed: int) -> None:
        """The remedies that leave rows out or move them."""
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
        if "near_duplicate" in remedies and want != "image":  # of pictures only the names are text
            again = np.zeros(len(self.train), bool)
            again[near_duplicate_rows(self.train)[0]] = True
            self.train = self._without(self.train, again, "near_duplicate", remedy=True)
        if "imbalance" in remedies:
            self.train = self._without(self.train, self._too_frequent(seed), "imbalance", remedy=True)

    def _part_questions(self, action: str) -> None:
        """Validation rows that ask what a training row asks go to the training rows, or away."""
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
        """True for the training records beyond what keeps each label below `RATIO` times the rarest one."""
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
        """Repeats the training records of each file as often as its weight says; of a broken weight's last part, rows chosen
        by content. Rows that are never drawn are counted as skipped."""
        if all(weight == 1 for weight in weights):
            return
        weight = np.asarray(weights)[self.train.column("parts")]
        chance = mix(self.train.digests, seed + 1).astype(np.float64) / 2.0**64
        times = np.floor(weight).astype(np.int64) + (chance < weight % 1)
        kept = self._without(self.train, times == 0, "weight")
        self.train = Records(self.store, np.repeat(kept.indices, times[times > 0]))

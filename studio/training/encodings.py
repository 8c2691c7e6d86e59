"""The encoded examples of a run, in an unnamed file in its folder: however long they are, a million of them cost some tens
of MB of memory, and nothing stays behind however the run ends. Knows nothing about batches, nor about what is learnt.
"""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studio.data.disk_list import DiskList
from studio.tasks import Encoded


class ExampleFile(Sequence[Encoded]):
    """Append examples, then `seal`, then read them by index; a slice gives a list.

    tokens: of all examples together; cut: how many examples lost some of theirs; names: of each its classes.
    """

    def __init__(self, folder: Path):
        """folder: on whose disk the file is made. It must exist."""
        self._spool = DiskList(folder)
        self._lengths, self._places = array("I"), array("I")
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.class_names: list[tuple[str, ...]] = []
        self.tokens = self.cut = 0

    def append(self, example: Encoded, place: int) -> None:
        """place: of the record that it was made of. Raises StudioError where the disk is full."""
        lengths = [len(row.ids) for row in example.sequences]
        self._spool.append(pickle.dumps(example, pickle.HIGHEST_PROTOCOL))
        self._lengths.append(max(lengths))
        self._places.append(place)
        self.class_names.append(
            self._known.setdefault(example.class_names, example.class_names)
        )  # one tuple for all that are equal
        self.tokens += sum(lengths)
        self.cut += any(row.truncated_tokens for row in example.sequences)

    def seal(self) -> ExampleFile:
        """Call once, after the last `append`."""
        self._spool.seal()
        return self

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return pickle.loads(self._spool[index])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example; of the longer answer where it has two."""
        return np.asarray(self._lengths)

    @property
    def places(self) -> np.ndarray:
        """Which record each example was made of."""
        return np.asarray(self._places)

"""The encoded examples of a run, stored on disk in an unnamed file in the run's folder.

A million examples of any length take some tens of MB of memory, and the file is gone when the process ends, even if it
is killed. Independent of batches and losses.
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
    """A sequence of encoded examples on disk: append them, call `seal`, then read them by index; a slice gives a list.

    Attributes: `tokens`, the total number of tokens; `cut`, the number of truncated examples; `class_names`, the
    classes of each example.
    """

    def __init__(self, folder: Path):
        """folder: an existing folder, in which the unnamed file is created."""
        self._spool = DiskList(folder)
        self._lengths, self._places = array("I"), array("I")
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.class_names: list[tuple[str, ...]] = []
        self.tokens = self.cut = 0

    def append(self, example: Encoded, place: int) -> None:
        """Append an example. place: index of its record in the dataset. Raises StudioError where the disk is full."""
        lengths = [len(row.ids) for row in example.sequences]
        self._spool.append(pickle.dumps(example, pickle.HIGHEST_PROTOCOL))
        self._lengths.append(max(lengths))
        self._places.append(place)
        self.class_names.append(
            self._known.setdefault(example.class_names, example.class_names)
        )  # equal tuples are stored once
        self.tokens += sum(lengths)
        self.cut += any(row.truncated_tokens for row in example.sequences)

    def seal(self) -> ExampleFile:
        """Finish writing and return self. Call once, after the last `append`."""
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
        """Length of each example in tokens, [examples]; for a pair, of its longer sequence."""
        return np.asarray(self._lengths)

    @property
    def places(self) -> np.ndarray:
        """Index of the record from which each example was made, [examples]."""
        return np.asarray(self._places)

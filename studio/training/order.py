"""The order in which examples come when they are grouped by length, without torch, so that the window can show it too.

The random numbers are those of `torch.Generator().manual_seed(seed)` and `torch.randperm` on a CPU (Mersenne Twister and
Fisher-Yates), number for number; a test compares them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np


class Permutations:
    """`torch.randperm` of one seeded generator, again and again."""

    def __init__(self, seed: int):
        self._twister = np.random.MT19937()
        self._twister._legacy_seeding(seed & 0xFFFFFFFF)  # what torch's CPU generator keeps of a seed

    def next(self, count: int) -> np.ndarray:
        order = array("q", range(count))
        if count > 1:
            steps = self._twister.random_raw(count - 1) % np.arange(count, 1, -1, dtype=np.uint64)
            for at, other in enumerate(memoryview(np.arange(count - 1) + steps.astype(np.int64))):
                order[at], order[other] = order[other], order[at]
        return np.asarray(order)


def grouped(lengths: Sequence[int] | np.ndarray, size: int, seed: int, epoch: int = 0) -> np.ndarray:
    """Indices of all examples in the order of one epoch. size: examples of an optimiser step.

    Chunks of 50 steps are sorted by length, and the steps inside a chunk come in random order, as in transformers' own
    sampler; the longest step comes first, so that memory trouble shows at once.
    """
    random = Permutations(seed * 1_000_003 + epoch)
    lengths, order = np.asarray(lengths, np.int64), random.next(len(lengths))
    chunks = [order[start : start + size * 50] for start in range(0, len(order), size * 50)]
    order = np.concatenate([chunk[np.argsort(-lengths[chunk], kind="stable")] for chunk in chunks]) if chunks else order
    # The short last step stays last: only there may one be smaller than the others.
    full, rest = order[: len(order) // size * size].reshape(-1, size), order[len(order) // size * size :]
    if len(full):
        first = np.argmax(lengths[full[:, 0]])
        others = np.delete(full, first, axis=0)
        full = np.concatenate([full[first : first + 1], others[random.next(len(others))]])
    return np.concatenate([full.ravel(), rest])

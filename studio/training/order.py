"""The order of training examples when they are grouped by length. Without torch, so that the page can show it too.

The permutations equal those of `torch.randperm` with `torch.Generator().manual_seed(seed)` on a CPU (Mersenne Twister
and Fisher-Yates); a test compares them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np


class Permutations:
    """Successive permutations as `torch.randperm` draws them from one generator with the given seed."""

    def __init__(self, seed: int):
        self._twister = np.random.MT19937()
        self._twister._legacy_seeding(seed & 0xFFFFFFFF)  # torch's CPU generator uses the low 32 bits

    def next(self, count: int) -> np.ndarray:
        order = array("q", range(count))
        if count > 1:
            steps = self._twister.random_raw(count - 1) % np.arange(count, 1, -1, dtype=np.uint64)
            for at, other in enumerate(memoryview(np.arange(count - 1) + steps.astype(np.int64))):
                order[at], order[other] = order[other], order[at]
        return np.asarray(order)


def grouped(lengths: Sequence[int] | np.ndarray, size: int, seed: int, epoch: int = 0) -> np.ndarray:
    """Return the indices of all examples in the order of one epoch. lengths: in tokens. size: examples per optimiser
    step.

    The examples are shuffled and sorted by length within chunks of 50 steps, as in transformers' length-grouped
    sampler; then the steps are shuffled. The step with the longest example comes first, so that running out of memory
    shows at once.
    """
    random = Permutations(seed * 1_000_003 + epoch)
    lengths, order = np.asarray(lengths, np.int64), random.next(len(lengths))
    chunks = [order[start : start + size * 50] for start in range(0, len(order), size * 50)]
    order = np.concatenate([chunk[np.argsort(-lengths[chunk], kind="stable")] for chunk in chunks]) if chunks else order
    # A last step with fewer examples stays last: elsewhere it would shift the boundaries of the steps after it.
    full, rest = order[: len(order) // size * size].reshape(-1, size), order[len(order) // size * size :]
    if len(full):
        first = np.argmax(lengths[full[:, 0]])
        others = np.delete(full, first, axis=0)
        full = np.concatenate([full[first : first + 1], others[random.next(len(others))]])
    return np.concatenate([full.ravel(), rest])

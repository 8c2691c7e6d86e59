"""The order in which examples come when they are grouped by length, without torch, so that the window can show it too.

The random numbers are those of `torch.Generator().manual_seed(seed)` and `torch.randperm` on a CPU (Mersenne Twister and
Fisher-Yates), number for number; a test compares them.
"""

from __future__ import annotations

import numpy as np


class Permutations:
    """`torch.randperm` of one seeded generator, again and again."""

    def __init__(self, seed: int):
        self._twister = np.random.MT19937()
        self._twister._legacy_seeding(seed & 0xFFFFFFFF)  # what torch's CPU generator keeps of a seed

    def next(self, count: int) -> list[int]:
        order = list(range(count))
        if count > 1:
            for at, number in enumerate(self._twister.random_raw(count - 1).tolist()):
                other = at + number % (count - at)
                order[at], order[other] = order[other], order[at]
        return order


def grouped(lengths: list[int], size: int, seed: int, epoch: int = 0) -> list[int]:
    """Indices of all examples in the order of one epoch. size: examples of an optimiser step.

    Chunks of 50 steps are sorted by length, and the steps inside a chunk come in random order, as in transformers' own
    sampler; the longest step comes first, so that memory trouble shows at once.
    """
    random = Permutations(seed * 1_000_003 + epoch)
    order = random.next(len(lengths))
    steps = []
    for start in range(0, len(order), size * 50):
        chunk = sorted(order[start : start + size * 50], key=lambda index: -lengths[index])
        steps += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    # The short last step stays last: only there may one be smaller than the others.
    full, rest = [step for step in steps if len(step) == size], [step for step in steps if len(step) < size]
    if full:
        first = full.pop(max(range(len(full)), key=lambda at: lengths[full[at][0]]))
        full = [first, *(full[at] for at in random.next(len(full)))]
    return [index for step in full + rest for index in step]

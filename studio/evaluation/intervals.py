"""How far a figure measured on so many rows can be trusted: 95 % intervals. It knows nothing about what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]
_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
_ROUNDS = 2000
_PORTION = 2_000_000  # row numbers drawn at a time, so that memory stays bounded


def wilson(right: float, count: int) -> Interval:
    """Interval of a rate of `right` in `count` (Wilson 1927, JASA 22:209); never outside 0 to 1, sensible at both ends."""
    rate, z = right / count, _Z * _Z / count
    middle = (rate + z / 2) / (1 + z)
    reach = _Z * math.sqrt(rate * (1 - rate) / count + z / (4 * count)) / (1 + z)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Interval of the mean of `values`: the middle 95 % of the means of rows drawn anew, with replacement (Efron 1979).

    The same seed gives the same interval. For the difference of two models give each row's own difference: the rows stay paired.
    """
    found, generator = np.asarray(values, dtype=float), np.random.default_rng(seed)
    at_a_time = max(1, _PORTION // len(found))
    means: list[float] = []
    while len(means) < _ROUNDS:
        drawn = generator.integers(0, len(found), (min(at_a_time, _ROUNDS - len(means)), len(found)))
        means.extend(found[drawn].mean(axis=1))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of `values`: Wilson's where each is 0 or 1, else by bootstrap."""
    if all(value in (0, 1) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap(values)

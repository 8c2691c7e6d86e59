"""How far a figure measured on so many rows can be trusted: 95 % intervals. It knows nothing about what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Interval = tuple[float, float]
_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
_ROUNDS = 2000
_SAME = 1e-12  # what sums of shares may differ by in their last digits
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
    found = np.asarray(values, dtype=float)
    return _middle([mean for drawn in _drawn(len(found), seed) for mean in found[drawn].mean(axis=1)])


def bootstrap_figures(
    count: int, figures: Callable[[np.ndarray], Sequence[float]], spans: Sequence[Interval], seed: int = 0
) -> list[Interval]:
    """The same for figures of `count` rows that are no means. figures: how often each row was drawn → their values; spans: between what each
    of them lies, which one that comes out the same in every round may still be (`alike`)."""
    rounds = np.array([figures(np.bincount(row, minlength=count)) for drawn in _drawn(count, seed) for row in drawn])
    return [
        all_equal(values[0], count, span) if np.ptp(values) < _SAME else _middle(values)
        for values, span in zip(rounds.T, spans, strict=True)
    ]


def _drawn(count: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers of `count` rows drawn with replacement: `_ROUNDS` times `count`, some rounds at a time."""
    generator, left, at_a_time = np.random.default_rng(seed), _ROUNDS, max(1, _PORTION // count)
    while left:
        rounds = min(at_a_time, left)
        yield generator.integers(0, count, (rounds, count))
        left -= rounds


def _middle(values: Sequence[float]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


SHARE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Between what a share lies, and the difference of two."""


def all_equal(value: float, count: int, span: Interval) -> Interval:
    """Interval of a mean where each of `count` rows has the same value, so that rows drawn anew would claim to be certain.

    None of `count` rows differs; by Wilson up to a share of z² / (count + z²) of all rows still may, and be anything in `span`. Of
    shares that are all 0 or 1 this is Wilson's own interval.
    """
    other = wilson(0, count)[1]
    return float(value - other * (value - span[0])), float(value + other * (span[1] - value))


def newcombe(base: Sequence[float], fine_tuned: Sequence[float]) -> Interval:
    """Interval of the difference of two rates, fine-tuned − base, on the same rows, each 0 or 1 (Newcombe 1998, Statistics in Medicine 17:2635, method 10).

    Wilson's intervals of the two, put together with their correlation φ, which is taken smaller than it seems where it is positive.
    """
    count, pairs = len(base), list(zip(fine_tuned, base, strict=True))
    both, gained, lost = pairs.count((1, 1)), pairs.count((1, 0)), pairs.count((0, 1))
    neither = count - both - gained - lost
    spread = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    together = both * neither - gained * lost
    phi = (max(together - count / 2, 0) if together > 0 else together) / math.sqrt(spread) if spread else 0.0
    after, before = (both + gained) / count, (both + lost) / count
    (low, high), (base_low, base_high) = wilson(both + gained, count), wilson(both + lost, count)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

    return after - before - reach(after - low, base_high - before), after - before + reach(
        high - after, before - base_low
    )


def interval(values: Sequence[float], share: bool = True) -> Interval | None:
    """Of the mean of `values`: Wilson's where each is 0 or 1, else by bootstrap. share: each lies in 0 to 1; otherwise nothing can be said
    where all are the same, and it is None."""
    if np.ptp(values) < _SAME:
        return all_equal(values[0], len(values), SHARE) if share else None
    return wilson(sum(values), len(values)) if share and set(values) == {0, 1} else bootstrap(values)


def gain(base: Sequence[float], fine_tuned: Sequence[float], share: bool = True) -> Interval | None:
    """Of the mean of fine-tuned − base on the same rows: Newcombe's where each is 0 or 1, else by bootstrap; share and None as in `interval`."""
    if share and {*base, *fine_tuned} <= {0, 1}:
        return newcombe(base, fine_tuned)
    differences = [after - before for before, after in zip(base, fine_tuned, strict=True)]
    if np.ptp(differences) < _SAME:
        return all_equal(differences[0], len(differences), DIFFERENCE) if share else None
    return bootstrap(differences)

"""95 % confidence intervals of means, rates and other statistics of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Interval = tuple[float, float]
_Z = 1.959964  # 97.5 % quantile of the standard normal distribution
_ROUNDS = 2000  # bootstrap resamples
_SAME = 1e-12  # range below which values count as equal: rounding errors of sums
_PORTION = 2_000_000  # row indices drawn at a time, to bound memory


def wilson(right: float, count: int) -> Interval:
    """Wilson score interval of the rate `right` / `count` (Wilson 1927, JASA 22:209). It lies within 0 to 1 and keeps a
    positive width at rates of 0 and 1.
    """
    rate, z = right / count, _Z * _Z / count
    middle = (rate + z / 2) / (1 + z)
    reach = _Z * math.sqrt(rate * (1 - rate) / count + z / (4 * count)) / (1 + z)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean of `values` (Efron 1979); deterministic for a given seed.

    For the difference of two models, pass the difference of each row, so that the rows stay paired.
    """
    found = np.asarray(values, dtype=float)
    return _middle([mean for drawn in _drawn(len(found), seed) for mean in found[drawn].mean(axis=1)])


def bootstrap_figures(
    count: int, figures: Callable[[np.ndarray], Sequence[float]], spans: Sequence[Interval], seed: int = 0
) -> list[Interval]:
    """Percentile bootstrap intervals of statistics of `count` rows that are not means.

    figures: maps the number of times that each row was drawn, [count], to the values of the statistics. spans: (lowest,
    highest) possible value of each statistic, for the fallback `all_equal` where all resamples give the same value.
    """
    rounds = np.array([figures(np.bincount(row, minlength=count)) for drawn in _drawn(count, seed) for row in drawn])
    return [
        all_equal(values[0], count, span) if np.ptp(values) < _SAME else _middle(values)
        for values, span in zip(rounds.T, spans, strict=True)
    ]


def _drawn(count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield row indices drawn with replacement, in portions [rounds, count], `_ROUNDS` rounds in total."""
    generator, left, at_a_time = np.random.default_rng(seed), _ROUNDS, max(1, _PORTION // count)
    while left:
        rounds = min(at_a_time, left)
        yield generator.integers(0, count, (rounds, count))
        left -= rounds


def _middle(values: Sequence[float]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


SHARE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Ranges of a rate and of the difference of two rates."""


def all_equal(value: float, count: int, span: Interval) -> Interval:
    """Interval of a mean where all `count` rows have the same value, so that the bootstrap would give a width of 0.

    By Wilson's interval for 0 differing rows in `count`, up to a fraction z² / (count + z²) of all rows can differ;
    these may have any value in `span`. For values that are all 0 or all 1 the result equals Wilson's interval.
    """
    other = wilson(0, count)[1]
    return float(value - other * (value - span[0])), float(value + other * (span[1] - value))


def newcombe(base: Sequence[float], fine_tuned: Sequence[float]) -> Interval:
    """Interval of the difference of two paired rates, fine-tuned − base; the values of each row are 0 or 1 (Newcombe
    1998, Statistics in Medicine 17:2635, method 10).

    Combines the Wilson intervals of the two rates by their correlation φ, with a continuity correction where φ is
    positive.
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
    """Interval of the mean of `values`: Wilson's if they are 0s and 1s, `all_equal` if all are equal, else bootstrap.

    share: the values lie in 0 to 1. If they do not and all are equal, the result is None.
    """
    if np.ptp(values) < _SAME:
        return all_equal(values[0], len(values), SHARE) if share else None
    return wilson(sum(values), len(values)) if share and set(values) == {0, 1} else bootstrap(values)


def gain(base: Sequence[float], fine_tuned: Sequence[float], share: bool = True) -> Interval | None:
    """Interval of the mean of fine-tuned − base on the same rows: Newcombe's if all values are 0 or 1, `all_equal` if
    all differences are equal, else bootstrap. share and None as in `interval`.
    """
    if share and {*base, *fine_tuned} <= {0, 1}:
        return newcombe(base, fine_tuned)
    differences = [after - before for before, after in zip(base, fine_tuned, strict=True)]
    if np.ptp(differences) < _SAME:
        return all_equal(differences[0], len(differences), DIFFERENCE) if share else None
    return bootstrap(differences)


def student(values: Sequence[float]) -> Interval | None:
    """95 % interval of the mean of a few independent measurements by Student's t distribution, as of a run repeated
    with other seeds; None for fewer than two and where all are equal, which says nothing of their spread. Two
    measurements give a wide one.
    """
    count = len(values)
    if count < 2 or np.ptp(values) < _SAME:
        return None
    reach = _t_quantile(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return float(np.mean(values)) - reach, float(np.mean(values)) + reach


def _t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t distribution with `freedom` degrees of freedom, by bisection."""
    low, high = 0.0, 13.0  # the greatest is 12.71, of one degree
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < 0.95 else (low, middle)
    return middle


def _t_within(t: float, freedom: int) -> float:
    """P(|T| ≤ t), by the finite series of Abramowitz & Stegun 1964, equations 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for at in range(3 if odd else 2, freedom, 2):
        term *= (at - 1) / at * cosine**2
        total += term
    if odd:
        return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
    return sine * total

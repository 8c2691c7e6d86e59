"""Intervals against published values, and against what they promise: to hold the truth 95 times in a hundred."""

import random

import pytest

from studio.evaluation.intervals import bootstrap, interval, wilson


@pytest.mark.parametrize(("right", "count", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_wilson_as_published(right, count, low, high):
    """The examples of Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    assert wilson(right, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_at_the_ends():
    assert wilson(20, 20)[1] == 1.0 and wilson(20, 20)[0] == pytest.approx(1 - 0.1611, abs=5e-5)


def test_bootstrap_of_a_mean():
    draw = random.Random(3)
    values = [draw.gauss(2, 1) for _ in range(400)]
    low, high = bootstrap(values)
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values) / len(values)) ** 0.5
    assert low == pytest.approx(mean - 1.96 * spread, abs=0.3 * spread) and high == pytest.approx(mean + 1.96 * spread, abs=0.3 * spread)
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    assert bootstrap([0.25]) == (0.25, 0.25)


def test_paired_differences_are_surer_than_the_two_rates():
    """Two models that differ on few rows: each rate is unsure, their difference is not."""
    base, taught = [1, 0] * 50, [1, 0] * 45 + [1, 1] * 5
    low, high = bootstrap([after - before for before, after in zip(base, taught, strict=True)])
    assert 0 < low < 0.05 < high < 0.11
    assert interval(taught)[1] - interval(taught)[0] > 2 * (high - low) * 0.9


def test_intervals_hold_the_truth():
    draw = random.Random(1)
    held = sum(low <= 0.3 <= high for low, high in (interval([float(draw.random() < 0.3) for _ in range(60)]) for _ in range(400)))
    assert 0.92 <= held / 400 <= 0.98


def test_many_rows_stay_in_bounded_memory():
    low, high = bootstrap([0.0, 1.0, 2.0] * 5_000)
    assert low < 1 < high and high - low < 0.05

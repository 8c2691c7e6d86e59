"""Intervals against published values, and against what they promise: to hold the truth 95 times in a hundred."""

import random

import pytest

from studio.evaluation.intervals import (
    DIFFERENCE,
    SHARE,
    all_equal,
    bootstrap,
    bootstrap_figures,
    gain,
    interval,
    newcombe,
    student,
    wilson,
)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
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
    assert low == pytest.approx(mean - 1.96 * spread, abs=0.3 * spread) and high == pytest.approx(
        mean + 1.96 * spread, abs=0.3 * spread
    )
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    assert bootstrap([0.25]) == (0.25, 0.25)


def test_paired_differences_are_surer_than_the_two_rates():
    """Two models that differ on few rows: each rate is unsure, their difference is not."""
    base, fine_tuned = [1, 0] * 50, [1, 0] * 45 + [1, 1] * 5
    low, high = bootstrap([after - before for before, after in zip(base, fine_tuned, strict=True)])
    assert 0 < low < 0.05 < high < 0.11
    assert interval(fine_tuned)[1] - interval(fine_tuned)[0] > 2 * (high - low) * 0.9


def test_intervals_hold_the_truth():
    draw = random.Random(1)
    held = sum(
        low <= 0.3 <= high
        for low, high in (interval([float(draw.random() < 0.3) for _ in range(60)]) for _ in range(400))
    )
    assert 0.92 <= held / 400 <= 0.98


def test_many_rows_stay_in_bounded_memory():
    low, high = bootstrap([0.0, 1.0, 2.0] * 5_000)
    assert low < 1 < high and high - low < 0.05


def pairs(both, gained, lost, neither):
    """(base, fine-tuned) of so many rows: right in both, in the second alone, in the first alone, in none."""
    return [1] * both + [0] * gained + [1] * lost + [0] * neither, [1] * both + [1] * gained + [0] * lost + [
        0
    ] * neither


def test_newcombe_as_published():
    """Complete response before and after consolidation therapy (Fagerland, Lydersen & Laake 2017, Statistical Analysis
    of Contingency Tables, ch. 8): −0.0621, −0.1186 to −0.0046."""
    assert newcombe(*pairs(59, 6, 16, 80)) == (pytest.approx(-0.1186, abs=5e-5), pytest.approx(-0.0046, abs=5e-5))
    assert gain(*pairs(59, 6, 16, 80)) == newcombe(*pairs(59, 6, 16, 80))


def test_equal_differences_are_not_certain():
    """Twenty rows of which each got better, or none changed: rows drawn anew would all say the same."""
    for rows in (pairs(0, 20, 0, 0), pairs(20, 0, 0, 0), pairs(0, 0, 0, 20), pairs(10, 0, 0, 10)):
        low, high = gain(*rows)
        middle = (sum(rows[1]) - sum(rows[0])) / 20
        assert low <= middle <= high and high - low > 0.1 and low >= -1 and high <= 1
    base, fine_tuned = [0.25] * 20, [0.5] * 20  # words in common
    other = wilson(0, 20)[1]
    for (low, high), value, width in (
        (interval(base), 0.25, other),
        (interval(fine_tuned), 0.5, other),
        (gain(base, fine_tuned), 0.25, 2 * other),
    ):
        assert low < value < high and high - low == pytest.approx(width)
    assert interval([1.5] * 20, share=False) is None is gain([1.5] * 20, [2.5] * 20, share=False)
    assert (
        gain([1.5, 2.0, 3.0] * 9, [2.5, 2.5, 2.5] * 9, share=False)[0]
        < 1 / 3
        < gain([1.5, 2.0, 3.0] * 9, [2.5, 2.5, 2.5] * 9, share=False)[1]
    )


@pytest.mark.parametrize("value", [0, 1])
def test_of_equal_zeros_and_ones_it_is_wilsons(value):
    assert all_equal(value, 20, SHARE) == pytest.approx(wilson(20 * value, 20))
    assert interval([value] * 20) == all_equal(value, 20, SHARE)


def test_gains_hold_the_truth():
    """Base right in 60 %, fine-tuned in 90 % of rows, together in 58 %."""
    draw = random.Random(2)
    kinds = [(1, 1)] * 58 + [(1, 0)] * 2 + [(0, 1)] * 32 + [(0, 0)] * 8
    held = 0
    for _ in range(400):
        base, fine_tuned = zip(*draw.choices(kinds, k=40), strict=True)
        low, high = gain(base, fine_tuned)
        held += low <= 0.3 <= high
    assert 0.92 <= held / 400 <= 0.99


def test_figures_that_are_no_means():
    draw = random.Random(5)
    values = [draw.random() for _ in range(60)]

    def figures(times):
        return float(times @ values) / 60, 0.0, 1.0

    mean, nothing, whole = bootstrap_figures(60, figures, (SHARE, DIFFERENCE, SHARE))
    assert mean == pytest.approx(bootstrap(values))
    assert nothing == pytest.approx((-wilson(0, 60)[1], wilson(0, 60)[1])) and whole == pytest.approx(wilson(60, 60))


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.7062), (3, 4.3027), (4, 3.1824), (11, 2.2281), (31, 2.0423)])
def test_students_interval_has_the_quantiles_of_the_tables(count, quantile):
    """Two-sided 95 % points of t, as every table has them."""
    values = [0.0, 2.0] * (count // 2) + [1.0] * (count % 2)
    spread = (2 * (count // 2) / (count - 1)) ** 0.5
    low, high = student(values)
    assert (low + high) / 2 == pytest.approx(1) and (high - low) / 2 == pytest.approx(
        quantile * spread / count**0.5, rel=1e-4
    )


def test_one_measurement_and_equal_ones_have_no_students_interval():
    assert student([0.5]) is None and student([0.5, 0.5]) is None

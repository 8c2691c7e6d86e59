"""Scores against values worked out by hand."""

import random

import numpy as np
import pytest

from studio.evaluation.scores import (
    accuracy,
    confusion,
    exact_match,
    macro_f1,
    preferred,
    rouge_l,
    token_f1,
    weighted_macro_f1,
    words,
)


@pytest.mark.parametrize(
    ("expected", "answer", "f1", "rouge"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", 1, 1),
        ("The cat sat on the mat.", "the cat, the mat", 2 * 4 / 10, 2 * 4 / 10),  # the, cat, the, mat
        (
            "police killed the gunman",
            "the gunman killed police",
            1,
            2 * 2 / 8,
        ),  # Lin 2004: "the gunman" is all that keeps its order
        ("police killed the gunman", "police ended the gunman", 2 * 3 / 8, 2 * 3 / 8),
        ("a b c", "x y", 0, 0),
        ("a", "", 0, 0),
        ("", "", 1, 1),
        ("...", "!", 1, 1),  # no words on either side
        ("a a b", "a b b", 2 * 2 / 6, 2 * 2 / 6),  # each word counts as often as it stands in both
        ("北京是首都", "首都是北京", 1, 2 * 2 / 10),  # by the character; in order only 北京 or 首都
    ],
)
def test_words_in_common(expected, answer, f1, rouge):
    assert token_f1(expected, answer) == pytest.approx(f1)
    assert rouge_l(expected, answer) == pytest.approx(rouge)


def longest_by_hand(first, second) -> int:
    """The textbook's table."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_subsequence_in_bits_is_the_one_of_the_table():
    draw = random.Random(0)
    for _ in range(300):
        first, second = (draw.choices("abcde", k=draw.randrange(0, 90)) for _ in range(2))
        length = longest_by_hand(first, second)
        expected = 2 * length / (len(first) + len(second)) if first and second else float(first == second)
        assert rouge_l(" ".join(first), " ".join(second)) == pytest.approx(expected)


def test_words_have_no_case_and_cjk_counts_by_the_character():
    assert words("Straße, NAÏVE_x2!  日本語 ok한국") == ["strasse", "naïve_x2", "日", "本", "語", "ok", "한", "국"]


def test_exact_match_and_preference():
    assert exact_match("Arr, 5!", " Arr, 5!\n") == 1 and exact_match("Arr, 5!", "arr, 5!") == 0
    assert (preferred(-3, -4), preferred(-4, -4), preferred(-5, -4)) == (1, 0.5, 0)


def test_classes_by_hand():
    expected, predicted = ["a", "a", "b", "c", "c", "c"], ["a", "b", "b", "c", "c", "a"]
    assert accuracy(expected, predicted) == pytest.approx(4 / 6)
    assert confusion(expected, predicted, "abc") == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert macro_f1(expected, predicted, "abc") == pytest.approx((2 / 4 + 2 / 3 + 4 / 5) / 3)
    assert macro_f1(expected, predicted, "abcd") == macro_f1(expected, predicted, "abc")  # nothing was measured for d


def test_several_labels_a_row():
    expected, predicted = [{"a", "b"}, {"b"}, set()], [{"a"}, {"b"}, {"a"}]
    assert accuracy(expected, predicted) == pytest.approx(1 / 3)
    assert macro_f1(expected, predicted, ["a", "b"]) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_macro_f1_of_rows_that_count_more_than_once():
    """Some rows twice and some not at all, against the same rows written out."""
    draw = random.Random(4)
    for _ in range(20):
        expected, predicted = ([{name for name in "abcd" if draw.random() < 0.3} for _ in range(12)] for _ in range(2))
        times = np.array([draw.choice((0, 1, 1, 3)) for _ in range(12)])
        again = [
            [row for row, count in zip(rows, times, strict=True) for _ in range(count)]
            for rows in (expected, predicted)
        ]
        assert weighted_macro_f1([*map(tuple, expected)], [*map(tuple, predicted)], "abcd")(times) == pytest.approx(
            macro_f1(*again, "abcd")
        )
    assert weighted_macro_f1([("a",)], [("b",)], "ab")(np.zeros(1, int)) == 0


def test_macro_f1_over_label_sets():
    """The mean of the sets' own: topic a, b and tone x, y; the second row has no tone."""
    expected, predicted = [("a", "x"), ("b",), ("a", "y")], [("a", "y"), ("b",), ("b", "y")]
    topic, tone = macro_f1(["a", "b", "a"], ["a", "b", "b"], "ab"), macro_f1(["x", "y"], ["y", "y"], "xy")
    assert weighted_macro_f1(expected, predicted, "abxy", (2, 2))(np.ones(3, int)) == pytest.approx((topic + tone) / 2)
    assert (
        weighted_macro_f1(expected, predicted, "abxy", (2, 2))(np.array([0, 2, 0])) == 1
    )  # no row with a tone, so no figure of tones

"""Scores: exact match and word overlap with the expected answer, and classification metrics.

Words are case-folded runs of word characters; each Chinese, Japanese or Korean character counts as a word. Independent
of models; intervals are in `intervals.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence, Set

import numpy as np

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")


def words(text: str) -> list[str]:
    """Split `text` into the words that the overlap scores compare."""
    return _WORD.findall(text.casefold())


def exact_match(expected: str, answer: str) -> float:
    """1 if the texts are equal after stripping white space at both ends, else 0."""
    return float(answer.strip() == expected.strip())


def token_f1(expected: str, answer: str) -> float:
    """Token F1: harmonic mean of precision and recall of the words, counted with multiplicity (Rajpurkar 2016,
    arXiv:1606.05250, §6.1).
    """
    reference, text = words(expected), words(answer)
    return _f1(sum((Counter(reference) & Counter(text)).values()), len(reference), len(text))


def rouge_l(expected: str, answer: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, so that their order counts (Lin 2004,
    aclanthology.org/W04-1013, §3.1, β = 1).
    """
    reference, text = words(expected), words(answer)
    return _f1(_common_subsequence(reference, text), len(reference), len(text))


def _f1(common: int, reference: int, text: int) -> float:
    if not reference or not text:
        return float(reference == text)
    return 2 * common / (reference + text)


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel: an integer holds one row of the table (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << at
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for word in second:
        hits = row & places.get(word, 0)
        row = (row + hits | row - hits) & everywhere
    return len(first) - row.bit_count()


def preferred(chosen: float, rejected: float) -> float:
    """1 if the chosen answer has the larger value, ½ if both are equal, else 0."""
    return 0.5 if chosen == rejected else float(chosen > rejected)


def accuracy(expected: Sequence, predicted: Sequence) -> float:
    """Fraction of rows whose prediction equals the expected value; for multi-label, the whole set of labels."""
    return sum(reference == text for reference, text in zip(expected, predicted, strict=True)) / len(expected)


def macro_f1(expected: Sequence[str | Set[str]], predicted: Sequence[str | Set[str]], labels: Sequence[str]) -> float:
    """Mean of the labels' F1 = 2·TP / (2·TP + FN + FP). Labels that are neither expected nor predicted in any row are
    left out, since their F1 is undefined.
    """
    found = []
    for label in labels:
        pairs = [
            (_has(reference, label), _has(text, label)) for reference, text in zip(expected, predicted, strict=True)
        ]
        hits, either = (
            sum(reference and text for reference, text in pairs),
            sum(reference + text for reference, text in pairs),
        )
        if either:
            found.append(2 * hits / either)
    return sum(found) / len(found) if found else 0.0


def weighted_macro_f1(
    expected: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    labels: Sequence[str],
    sizes: Sequence[int] = (),
) -> Callable[[np.ndarray], float]:
    """Return a function that computes `macro_f1` from the weight of each row, [rows], for bootstrap resampling.

    sizes: number of labels in each label set, where `labels` concatenates several sets; the result is then the mean of
    the sets' macro F1.
    """
    numbers = {label: at for at, label in enumerate(labels)}
    hits = [
        (row, numbers[label])
        for row, (reference, text) in enumerate(zip(expected, predicted, strict=True))
        for label in {*reference} & {*text}
    ]
    either = [
        (row, numbers[label])
        for row, pair in enumerate(zip(expected, predicted, strict=True))
        for names in pair
        for label in {*names}
    ]
    (hit_rows, hit_labels), (rows, own) = (np.array(pairs, int).reshape(-1, 2).T for pairs in (hits, either))
    ends = np.cumsum(sizes)[:-1] if sizes else []

    def figure(times: np.ndarray) -> float:
        found = np.bincount(own, times[rows], len(labels))
        shares = 2 * np.bincount(hit_labels, times[hit_rows], len(labels)) / np.where(found, found, 1)
        sets = [
            shares[at].mean()
            for at in (part[found[part] > 0] for part in np.split(np.arange(len(labels)), ends))
            if len(at)
        ]
        return float(np.mean(sets)) if sets else 0.0

    return figure


def _has(value: str | Set[str], label: str) -> bool:
    return value == label if isinstance(value, str) else label in value


def confusion(expected: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Confusion matrix: rows are expected labels, columns predicted ones, both in the order of `labels`."""
    counts = Counter(zip(expected, predicted, strict=True))
    return [[counts[reference, text] for text in labels] for reference in labels]

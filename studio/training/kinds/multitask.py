"""Multi-task text classification: several label sets share one adapter or prompt and one head, whose logits are
grouped by label set.

Softmax, loss and metrics are computed within each set; a row contributes only to the sets for which it has a label. All
else is as in text classification, so every method that supports classification supports this too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from studio.data.records import set_label
from studio.tasks import IGNORED
from studio.training.kinds.classes import Names, class_figures
from studio.training.kinds.classification import Classification
from studio.words import StudioError


def label_sets(labels: Iterable[dict[str, str]]) -> dict[str, list[str]]:
    """Return the sorted labels of each label set. labels: for each row, set → label.

    Raises StudioError where a set has only one label.
    """
    found: dict[str, set[str]] = {}
    for row in labels:
        for name, label in row.items():
            found.setdefault(name, set()).add(label)
    for name, own in found.items():
        if len(own) < 2:
            raise StudioError(
                "The label column '{column}' has only one label in the training part ({label}), "
                "so there is nothing to tell apart. Choose another column, or add examples of other labels.",
                column=name,
                label=min(own),
            )
    return {name: sorted(own) for name, own in found.items()}


class MultiTask(Classification):
    """Multi-task text classification.

    `labels` concatenates the labels of all sets; `place` maps each of them to (index of its set, index in the set).
    """

    def examples(self, dataset):
        self.sets = label_sets(value["label"] for value in self.iterate(dataset.train))
        self.sizes = [len(labels) for labels in self.sets.values()]
        self.place = {
            set_label(name, label): (at, number)
            for at, (name, labels) in enumerate(self.sets.items())
            for number, label in enumerate(labels)
        }
        return super().examples(dataset)

    def found_names(self, train):
        return list(self.place)

    def measurable(self, names, unknown):
        """Return the labels that occur in training, or None if there are none."""
        return tuple(name for name in names if name not in unknown) or None

    def numbers(self, names):
        """Return for each set the index of the row's label within the set, or -100 where it has none."""
        found = dict(self.place[name] for name in names)
        return [found.get(at, IGNORED) for at in range(len(self.sizes))]

    def most_frequent(self, train):
        counts = Counter(name for row in train for name in row)
        best: dict[int, str] = {}
        for name in self.labels:
            at = self.place[name][0]
            best[at] = max(best.get(at, name), name, key=counts.__getitem__)
        return tuple(best.values())

    def asked(self, given, expected):
        """Return the predictions for the sets for which the row has a label; the others cannot be evaluated."""
        wanted = [self.place[name][0] for name in expected]
        return tuple(name for name in given if self.place[name][0] in wanted)

    def figures(self, expected, given):
        """Means of accuracy and macro F1 over the sets for which some row has a label."""
        found = [
            class_figures(*self._of_set(at, expected, given), list(self.place), False)
            for at in self._measured(expected)
        ]
        return {name: fmean(figures[name] for figures in found) for name in ("accuracy", "macro_f1")} if found else {}

    def matrix(self, expected, given, always):
        """Return the confusion matrix of each set, with its metrics and those of always predicting its most frequent
        label (prefix "base_").
        """
        tables = []
        for at in self._measured(expected):
            (name, labels), (reference, text) = list(self.sets.items())[at], self._of_set(at, expected, given)
            own = [set_label(name, label) for label in labels]
            blind = [(always[at],)] * len(reference)
            fine_tuned, base = class_figures(reference, text, own, False), class_figures(reference, blind, own, False)
            one = {
                "names": labels,
                "multi_label": False,
                "always": labels[self.place[always[at]][1]],
                "counts": self.counted(reference, text, own),
            }
            tables.append(
                {
                    "set": name,
                    **one,
                    "rows": len(reference),
                    **fine_tuned,
                    **{f"base_{key}": value for key, value in base.items()},
                }
            )
        return {"names": self.labels, "multi_label": False, "counts": [], "sets": tables}

    def card(self):
        return {**super().card(), "sets": self.sets}

    def _measured(self, expected: Sequence[Names]) -> list[int]:
        return sorted({self.place[name][0] for row in expected for name in row})

    def _of_set(self, at: int, expected: Sequence[Names], given: Sequence[Names]) -> tuple[list[Names], list[Names]]:
        """Return (expected, predicted) labels of set `at`, for the rows that have a label in it."""

        def own(row: Names) -> Names:
            return tuple(name for name in row if self.place[name][0] == at)

        pairs = [(own(reference), own(text)) for reference, text in zip(expected, given, strict=True) if own(reference)]
        return [reference for reference, _ in pairs], [text for _, text in pairs]

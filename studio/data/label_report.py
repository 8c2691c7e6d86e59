"""Findings on the labels of a dataset: inconsistent spelling, imbalance, labels missing from the training data."""

from __future__ import annotations

from collections import Counter

import numpy as np

from studio.data.dataset import Dataset
from studio.data.findings import Finding, lines_of, once
from studio.data.records import SEVERAL, set_label
from studio.data.spelling import spellings
from studio.data.splitting import RATIO
from studio.words import Sentence


def label_counts(dataset: Dataset) -> dict[str, int]:
    """Label → number of training rows with it, most frequent first; empty if the data has no labels."""
    found: Counter[str] = Counter()
    rows = np.bincount(dataset.train.column("labels"), minlength=len(dataset.train.store.label_names) + 1)
    for name, index in dataset.train.store.label_names.items():
        for label in name.split(SEVERAL):
            found[label] += int(rows[index])
    return {label: count for label, count in found.most_common() if count}


def label_spellings(dataset: Dataset) -> list[Finding]:
    """Rows whose label differs from its most frequent spelling in capitals or blanks."""
    store, usual = dataset.train.store, spellings(dataset.train.store, dataset.want)
    numbers = [number for name, number in store.label_names.items() if not usual.keys().isdisjoint(name.split(SEVERAL))]
    found = [
        (records, np.isin(records.column("labels"), numbers)) for records in (once(dataset.train), dataset.validation)
    ]
    count = sum(int(which.sum()) for _, which in found)
    if not count:
        return []
    lines, first, files = next(lines_of(dataset, records, which) for records, which in found if which.any())
    ways = ", ".join(f"'{label}' → '{most}'" for label, most in list(usual.items())[:8])
    sentence = Sentence(
        "{count} {count:row writes its label|rows write their labels} with other capitals or blanks than most rows do "
        "({ways}), first in {unit} {line}. Each way of writing is a class of its own.",
        count=count,
        ways=ways,
        **first,
    )
    return [Finding("spelling", "warning", sentence, count, lines, files)]


def imbalance(dataset: Dataset) -> list[Finding]:
    """Label sets with only one label, or whose most frequent label is at least `RATIO` times the rarest."""
    counts, sets = label_counts(dataset), [""]
    if dataset.want == "label_sets":
        sets = sorted(
            {
                set_label(column, "")
                for part in dataset.parts
                for column in (part.mapping.roles["label"], *part.mapping.labels)
            }
        )
    found = ({label: count for label, count in counts.items() if label.startswith(name)} for name in sets)
    return [finding for own in found if own for finding in _imbalance(dataset, own)]


def _imbalance(dataset: Dataset, counts: dict[str, int]) -> list[Finding]:
    """Findings on the labels of one set. counts: label → training rows, most frequent first."""
    names = list(counts)
    # with several labels per row, removing rows of the frequent label would remove rows of the rare one too
    combined = any(SEVERAL in name for name in dataset.train.store.label_names)

    def first_line(label: str) -> tuple[list[int], list[str]]:
        indices = [index for name, index in dataset.train.store.label_names.items() if label in name.split(SEVERAL)]
        lines, _, files = lines_of(dataset, dataset.train, np.isin(dataset.train.column("labels"), indices))
        return lines[:1], files[:1]

    often, rare = names[0], names[-1]
    if len(names) == 1:
        if counts[often] < len(dataset.train) and dataset.want == "label":
            return []  # the classes are with and without this label
        level = "block" if dataset.want in ("label", "label_sets", "image") and len(dataset.train) > 1 else "warning"
        sentence = Sentence(
            "Every row has the label '{label}', so there is nothing to tell apart. Add rows with other labels.",
            label=often,
        )
        return [Finding("imbalance", level, sentence, counts[often], *first_line(often), actions=())]
    if counts[often] < RATIO * counts[rare]:
        return []
    sentence = Sentence(
        "The label '{often}' has {most} {most:row|rows}, '{rare}' only {least}: the model will hardly learn the rare "
        "one. "
        "Add rows for it, or remove some of the others.",
        often=often,
        most=counts[often],
        rare=rare,
        least=counts[rare],
    )
    return [
        Finding("imbalance", "warning", sentence, counts[rare], *first_line(rare), actions=() if combined else None)
    ]


def unknown_labels(dataset: Dataset) -> list[Finding]:
    """Validation rows with a label that no training row has."""
    if dataset.want not in ("label", "label_sets", "image"):
        return []
    known = label_counts(dataset).keys()
    unknown = [
        index for name, index in dataset.train.store.label_names.items() if not known >= set(name.split(SEVERAL))
    ]
    which = np.isin(dataset.validation.column("labels"), unknown)
    count = int(which.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, dataset.validation, which)
    sentence = Sentence(
        "{count} validation {count:row has|rows have} a label that no training row has, first in {unit} {line}, so the "
        "model cannot predict it. Add training rows with it.",
        count=count,
        **first,
    )
    return [Finding("validation", "warning", sentence, count, lines, files)]

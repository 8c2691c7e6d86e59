"""Labels that differ in nothing but capitals and blanks, which would be classes of their own. Knows nothing about rows or remedies."""

from __future__ import annotations

from collections import Counter

import numpy as np

from studio.data.records import SEVERAL, RecordStore, set_label


def spellings(store: RecordStore, want: str) -> dict[str, str]:
    """Label → how most records write it, for each label that is also written otherwise; of two ways as frequent the one that came first.

    want: the kind of the records; where they have no classes nothing is found. Labels of several sets are told apart by set.
    """
    if want not in ("label", "label_sets", "image"):
        return {}
    rows = (
        np.bincount(np.frombuffer(store.labels, f"u{store.labels.itemsize}"), minlength=len(store.label_names) + 1)
        if len(store)
        else []
    )
    counts: Counter[str] = Counter()
    for name, number in store.label_names.items():
        for label in name.split(SEVERAL):
            counts[label] += int(rows[number])
    ways: dict[str, list[str]] = {}
    for label in counts:
        ways.setdefault(_plain(label, want), []).append(label)
    usual = {key: max(labels, key=counts.__getitem__) for key, labels in ways.items()}
    return {label: usual[key] for key, labels in ways.items() for label in labels if label != usual[key]}


def _plain(label: str, want: str) -> str:
    """`label` without capitals and stray blanks; the name of its set stays as it is."""
    name, mark, own = label.partition(set_label("", "")) if want == "label_sets" else ("", "", label)
    return name + mark + " ".join(own.split()).casefold()

"""Find labels that differ only in case and white space and would be separate classes.

Independent of rows and remedies.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from studio.data.records import SEVERAL, RecordStore, set_label


def spellings(store: RecordStore, want: str) -> dict[str, str]:
    """Label → its most frequent spelling, for each label that has another one; of equally frequent spellings the first.

    want: kind of the records; the result is empty for kinds without classes. Labels of different label sets are kept
    apart.
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
    """`label` in lower case with normalised white space; the name of its label set stays unchanged."""
    name, mark, own = label.partition(set_label("", "")) if want == "label_sets" else ("", "", label)
    return name + mark + " ".join(own.split()).casefold()

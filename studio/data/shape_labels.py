"""Recognise label columns, the separator of several labels in one cell, and the text column, from the first rows."""

from __future__ import annotations

import itertools
import re
from collections import Counter

from studio.data.cells import as_list, as_text
from studio.data.columns import Column, Columns, Found, named
from studio.data.mapping import Mapping, labels_in, marked_places
from studio.data.row_cells import flag, normal
from studio.data.rows import Row
from studio.data.source import Source
from studio.words import Sentence

LOOKED_AT = 1000
"""Number of rows that a proposal is based on."""


def label_columns(columns: Columns, rows: list[Row]) -> Found:
    """Recognise a text with two or more yes-or-no columns, each of which is a label (multi-label classification)."""
    names = [
        name for name, column in columns.items() if column.filled >= 4 and flag_count(column) >= 0.95 * column.filled
    ]
    if len(names) < 2 or named(columns, "label"):
        return None
    text = named(columns, "text", set(names)) or longest(columns, set(names))
    if text is None or columns[text].characters <= max(columns[name].characters for name in names):
        return None
    has = [sum(bool(flag(row.values.get(name))) for name in names) for row in rows]
    evidence = [
        Sentence(
            "The columns {columns} say yes or no (or 1 and 0), so each is a label that a text has or has not.",
            columns=", ".join(names[:20]),
        ),
        Sentence(
            "{none} of {rows} {rows:row|rows} {none:has|have} none of these labels, {several} {several:has|have} "
            "more than one.",
            none=has.count(0),
            rows=len(rows),
            several=sum(count > 1 for count in has),
        ),
        Sentence("To ask each column as a question of its own, choose Multi-task classification."),
        text_evidence(columns[text]),
    ]
    return Mapping(shape="label_columns", roles={"text": text}, labels=names), evidence


def flag_count(column: Column) -> int:
    """Number of cells that are yes or no."""
    return sum(count for value, count in column.values.items() if flag(value) is not None)


def text_evidence(column: Column) -> Sentence:
    return Sentence(
        "Column '{column}' holds the texts, {count} characters on average.",
        column=column.name,
        count=column.characters // max(1, column.texts),
    )


def labels(columns: Columns, rows: list[Row]) -> Found:
    label = named(columns, "label")
    if label is None:
        label = next((name for name, column in reversed(columns.items()) if few_values(column)), None)
    if label is None:
        label = next(
            (
                name
                for name, column in reversed(columns.items())
                if column.texts and _parted([row.values.get(name) for row in rows])
            ),
            None,
        )
    if label is None:
        return None
    text = named(columns, "text", {label}) or longest(columns, {label})
    if text is None or columns[text].characters <= columns[label].characters:
        return None
    evidence = [
        Sentence(
            "Column '{column}' has {count} different values in {rows} rows, as labels do.",
            column=label,
            count=len(columns[label].values),
            rows=len(rows),
        ),
        text_evidence(columns[text]),
    ]
    if parted := _parted([row.values.get(label) for row in rows]):
        evidence[0] = _parted_evidence(label, *parted, len(rows))
    if any(marked_places(as_list(row.values.get(label))) is not None for row in rows):
        evidence.append(
            Sentence(
                "Column '{column}' holds lists of zeros and ones; the labels of a row are the places of its ones, "
                "counted from 0.",
                column=label,
            )
        )
    if pair := _two_texts(columns, text, label):
        evidence.append(
            Sentence(
                "Column '{second}' holds a second text, which is put behind the one in '{first}'.",
                first=pair[0],
                second=pair[1],
            )
        )
        return Mapping(shape="label", roles={"text": pair[0], "input": pair[1], "label": label}), evidence
    return Mapping(shape="label", roles={"text": text, "label": label}), evidence


_PAIRED = re.compile(r"(.*?)_?([12ab])")
_SECOND = {
    "premise": "hypothesis",
    "question": "sentence",
    "query": "document",
    "claim": "evidence",
    "headline": "body",
}


def _two_texts(columns: Columns, text: str, label: str) -> tuple[str, str] | None:
    """The columns of two texts that are classified together, such as premise and hypothesis; None if there is one."""
    names = {normal(name): name for name, column in columns.items() if column.texts and name != label}
    for one, name in names.items():
        found = _PAIRED.fullmatch(one)
        other = _SECOND.get(one) or (found and found[2] in "1a" and one[:-1] + {"1": "2", "a": "b"}[found[2]])
        if other in names and text in (name, names[other]):
            return name, names[other]
    return None


_SEPARATORS = (";", "|", ",")
_DECIMAL = re.compile(r"-?\d+,\d+")


def separator_of(source: Source, mapping: Mapping) -> str | None:
    """Separator of several labels in a label cell, "" if cells hold lists; None if each row has one label."""
    if mapping.shape != "label":
        return None
    found = _parted([row.values.get(mapping.roles["label"]) for row in itertools.islice(source.rows(), LOOKED_AT)])
    return found[0] if found else None


def _parted(values: list) -> tuple[str, int] | None:
    """(separator, or "" for lists; number of cells with several labels) of a multi-label column.

    None if no cell holds several labels.
    """
    filled = [value for value in values if as_text(value).strip()]
    lists = [
        items
        for value in filled
        if (items := as_list(value)) is not None and all(isinstance(item, str | int) for item in items)
    ]
    if lists and 2 * len(lists) >= len(filled):
        several = sum(len(items) > 1 for items in lists)
        return ("", several) if several else None
    separator, several = max(((mark, _parted_by(filled, mark)) for mark in _SEPARATORS), key=lambda found: found[1])
    return (separator, several) if several else None


def _parted_by(values: list, separator: str) -> int:
    """Number of `values` that hold several labels separated by `separator`; 0 if the parts do not look like labels.

    Labels are few, short and often repeated, and most of those that occur together also occur in other combinations:
    'Arts, Culture', which is never split, is one label.
    """
    cells = Counter(tuple(sorted(labels_in(value, separator))) for value in values)
    several = [cell for cell in cells if len(cell) > 1]
    stands = Counter(part for cell in cells for part in cell)
    if not several or len(stands) > min(100, len(values) // 2) or max(map(len, stands)) > 40:
        return 0
    if separator == "," and all(
        _DECIMAL.fullmatch(as_text(value).strip()) for value in values if separator in as_text(value)
    ):
        return 0
    together = {part for cell in several for part in cell}
    return (
        sum(cells[cell] for cell in several) if 2 * sum(stands[part] > 1 for part in together) >= len(together) else 0
    )


def _parted_evidence(column: str, separator: str, count: int, rows: int) -> Sentence:
    if separator:
        return Sentence(
            "Column '{column}' holds several labels in {count} of {rows} {rows:row|rows}, parted by '{separator}'.",
            column=column,
            count=count,
            rows=rows,
            separator=separator,
        )
    return Sentence(
        "Column '{column}' holds lists of labels, with several of them in {count} of {rows} {rows:row|rows}.",
        column=column,
        count=count,
        rows=rows,
    )


def more_labels(mapping: Mapping, evidence: list[Sentence], columns: Columns) -> tuple[Mapping, list[Sentence]]:
    """Extend `mapping` by every other column that looks like labels, each as a label set of its own."""
    more = [column for column in columns.values() if column.name not in mapping.roles.values() and few_values(column)]
    told = [
        Sentence(
            "Column '{column}' has {count} different values, so it is taken for another label set.",
            column=column.name,
            count=len(column.values),
        )
        for column in more
    ]
    return mapping.model_copy(update={"labels": [column.name for column in more]}), [*evidence, *told]


def few_values(column: Column) -> bool:
    """Whether the values look like labels: few, short and often repeated."""
    kinds = len(column.values)
    return column.texts >= 4 and 2 <= kinds <= min(50, column.texts // 2) and max(map(len, column.values)) <= 40


def longest(columns: Columns, taken: set[str] = frozenset()) -> str | None:
    texts = [column for column in columns.values() if column.texts and column.name not in taken]
    return max(texts, key=lambda column: column.characters).name if texts else None

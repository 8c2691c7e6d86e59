"""Convert a row to a normalised record of the kind that a task needs, using a `Mapping` of columns to roles.

    messages    {"messages": [{"role", "content"}, ...]} and "tools" where the row has them
    text        {"text": str}
    preference  {"prompt": [{"role", "content"}, ...], "chosen": str, "rejected": str} and "tools"
    unpaired    {"prompt": [{"role", "content"}, ...], "completion": str, "label": bool} and "tools"
    label       {"text": str, "label": str | list[str]}
    label_sets  {"text": str, "label": {label column: str}}, without the columns that the row leaves empty
    image       {"image": location of a picture (`pictures.py`), "label": str}

An assistant turn may have loss weights in "weight" and "span_weights"; its reasoning is part of its content, in the
form of `reasoning.py`. `roles.py` defines `Mapping`, `shape.py` proposes mappings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from studio.data import preference_rows
from studio.data.cells import as_list, as_text
from studio.data.pictures import PREFIX
from studio.data.roles import ROLE_TITLES, ROLES, SHAPES, Mapping, Shape, Want, check_mapping, columns_of, fits
from studio.data.row_cells import Cells, flag
from studio.data.rows import Row, RowProblem, place
from studio.data.turn_keys import UnreadKeys

__all__ = [
    "ROLES",
    "ROLE_TITLES",
    "SHAPES",
    "Mapping",
    "Shape",
    "Want",
    "apply",
    "check_mapping",
    "columns_of",
    "fits",
    "labels_in",
]


def apply(
    mapping: Mapping,
    row: Row,
    want: Want = "messages",
    name: str = "the data",
    unit: str = "line",
    rewrite: Callable[[list[dict]], list[dict]] | None = None,
    separator: str = "",
    unread: UnreadKeys | None = None,
) -> dict:
    """Convert `row` to one record of kind `want`, as listed in the module docstring.

    name, unit: name of the file and unit of its row numbers, for error messages. rewrite: function that repairs the
    turns of a conversation before their order is checked. separator: separator of the labels in a cell that may hold
    any number of labels; "" if each row has one label. unread: counts the keys of messages that are not read.

    Raises RowProblem (a StudioError with a `kind`) if this row cannot be used, and StudioError if no row can become a
    `want` under the mapping.
    """
    if not fits(mapping, want):
        check_mapping(mapping, row.values, want, name)
    where = place(row.file or name, row.number, unit)
    return _MAKERS[mapping.shape](Cells(mapping, row, where, rewrite, separator, unread), want)


def _conversation(cells: Cells, want: Want) -> dict:
    return cells.conversation(cells.turns("messages"))


def _alpaca(cells: Cells, want: Want) -> dict:
    return cells.conversation([*cells.prompt_turns("instruction"), *cells.answer("output")])


def _prompt_completion(cells: Cells, want: Want) -> dict:
    return cells.conversation([*cells.prompt_turns("prompt"), *cells.answer("completion")])


def _label(cells: Cells, want: Want) -> dict:
    if want == "label_sets":
        return _label_sets(cells)
    text, label = _whole_text(cells), cells.cell("label")
    several = as_list(label)
    if want == "messages":
        answer = ", ".join(labels_in(several)) if several else cells.text("label")
        if not answer:
            raise cells.empty("label")
        return cells.conversation([{"role": "user", "content": text}, {"role": "assistant", "content": answer}])
    if several is None and _LIKE_A_LIST.match(written := as_text(label).strip()):
        raise RowProblem(
            "shape",
            "{place} has {label} in '{column}', which is no list that can be read. Put its labels in quotes, with "
            "commas between them.",
            place=cells.place,
            label=written[:40],
            column=cells.mapping.roles["label"],
        )
    if cells.separator:
        return {"text": text, "label": labels_in(label, cells.separator)}
    labels = labels_in(several) if several is not None else None
    if labels == []:
        raise RowProblem(
            "empty",
            "{place} has an empty list in '{column}'. Switch on Several labels, with which a text may have none, or "
            "give it a label.",
            place=cells.place,
            column=cells.mapping.roles["label"],
        )
    return {"text": text, "label": cells.text("label").strip() if labels is None else labels}


def _whole_text(cells: Cells) -> str:
    """The text to classify, with its second text behind it if there is one."""
    second = cells.text_of("input").strip()
    return f"{cells.text('text')}\n\n{second}" if second else cells.text("text")


_LIKE_A_LIST = re.compile(r"""\[\s*['"]""")


def marked_places(items: list | None) -> list[int] | None:
    """The places of the ones in a multi-hot list, [0, 1, 1] → [1, 2]; None if it is none.

    That is three or more zeros and ones: a list of class numbers would not repeat one.
    """
    if items is None or len(items) < 3 or not all(isinstance(item, bool | int | float) for item in items):
        return None
    return [at for at, item in enumerate(items) if item] if {*items} <= {0, 1} else None


def labels_in(value: Any, separator: str = "") -> list[str]:
    """The distinct labels in one cell: the items of a list, or the text split at `separator` if that is given.

    In a multi-hot list the labels are the places of its ones, counted from 0.
    """
    items = as_list(value)
    if (places := marked_places(items)) is not None:
        return list(map(str, places))
    if items is None or not all(isinstance(item, str | int | float) for item in items):
        items = as_text(value).split(separator) if separator else [value]
    return list(dict.fromkeys(label for item in items if (label := as_text(item).strip())))


def _label_sets(cells: Cells) -> dict:
    """A label for each label column that is filled; a row with none of them is a problem."""
    text, values = _whole_text(cells), cells.row.values
    found = {
        column: as_text(values.get(column)).strip() for column in (cells.mapping.roles["label"], *cells.mapping.labels)
    }
    found = {column: label for column, label in found.items() if label}
    if not found:
        cells.text("label")
    return {"text": text, "label": found}


def _label_columns(cells: Cells, want: Want) -> dict:
    """The labels are the columns that hold yes, possibly none; a row where all of them are empty is a problem."""
    text, names, values = cells.text("text"), cells.mapping.labels, cells.row.values
    if not any(as_text(values.get(name)).strip() for name in names):
        raise RowProblem(
            "empty",
            "{place} has nothing in '{column}'. Fill it or remove the row.",
            place=cells.place,
            column=", ".join(names)[:200],
        )
    if (odd := next((name for name in names if flag(values.get(name)) is None), None)) is not None:
        raise RowProblem(
            "shape",
            "{place} has '{label}' in '{column}', which is neither true nor false. Correct or remove the row.",
            place=cells.place,
            label=as_text(values[odd])[:40],
            column=odd,
        )
    return {"text": text, "label": [name for name in names if flag(values.get(name))]}


def _image(cells: Cells, want: Want) -> dict:
    place = cells.text("image")
    if not place.startswith(PREFIX):
        raise RowProblem(
            "shape",
            "{place} names no picture that was read. Bring the pictures themselves, in a zip of folders by class.",
            place=cells.place,
        )
    return {"image": place, "label": cells.text("label").strip()}


def _text(cells: Cells, want: Want) -> dict:
    return {"text": cells.text("text")}


_MAKERS: dict[str, Callable[[Cells, Want], dict]] = {
    "messages": _conversation,
    "sharegpt": _conversation,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "preference": preference_rows.preference,
    "ranked": preference_rows.preference,
    "unpaired": preference_rows.unpaired,
    "label": _label,
    "label_columns": _label_columns,
    "image": _image,
    "text": _text,
}

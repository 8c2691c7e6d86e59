"""Find the records in a JSON file whose top level is one object.

    {"data": [row, …]}  {"version": 1, "data": {"conversations": [row, …]}}      rows under a key, nested up to `_DEPTH`
    {"train": [row, …], "test": [row, …]}                                        splits, named as in `split_names.py`
    {"id0": row, "id1": row}  {"id0": [turn, …], "id1": [turn, …]}               keyed by id; pandas' orient="index"
    {"a": [1, 2], "b": [3, 4]}  {"a": {"0": 1, "1": 2}, "b": …}                  columns; pandas' orient="columns"
    {"columns": […], "data": [[…], …]}  {"schema": {…}, "data": [row, …]}        pandas' orient="split" and "table"

Any other object is one record. The meaning of columns is not used here, except for the common column names that
distinguish a row from a table of columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from studio.data.source import Source
from studio.data.speakers import ROLES, is_turn
from studio.data.split_names import MEASURED, TRAIN, side
from studio.words import StudioError

_LISTS = ("data", "train", "rows", "examples", "records", "items", "samples", "dataset", "conversations")
_WRAPPERS = {
    *_LISTS,
    "dialogs",
    "dialogues",
    "chats",
    "sessions",
    "entries",
    "instances",
    "content",
    "result",
    "results",
    "payload",
    "splits",
}
_COLUMNS = {
    "messages",
    "conversation",
    "conversations",
    "turns",
    "dialog",
    "dialogue",
    "chat",
    "prompt",
    "question",
    "query",
    "instruction",
    "input",
    "output",
    "completion",
    "response",
    "answer",
    "answers",
    "text",
    "label",
    "labels",
    "category",
    "chosen",
    "rejected",
    "context",
    "system",
    "tools",
    "functions",
    "history",
    "role",
    "content",
    "from",
    "value",
    "id",
    "sentence",
    "title",
    "source",
    "target",
    *ROLES,
}
"""Common column names, which decide between a row and a table of columns where the structure fits both."""
_DEPTH = 5
_ROWS_FROM = 2  # a single nested object is a field of one record, unless its keys are common column names


class Item(NamedTuple):
    """One record as read from the file. is_validation: it belongs to a validation or test split."""

    value: Any
    is_validation: bool = False


def items_of(source: Source, item: Any) -> Iterator[Item]:
    """Yield the records of one top-level JSON value; entries that are not read are reported as warnings of `source`."""
    return _items(source, item, 0) if isinstance(item, dict) else iter([Item(item)])


def _items(source: Source, item: dict, depth: int) -> Iterator[Item]:
    if (splits := _splits(item)) is not None and depth < _DEPTH:
        return _of_splits(source, splits, depth)
    rows = _pandas_rows(item)
    if rows is None:
        rows = _wrapped_rows(source, item, depth)
    if rows is None:
        rows = _columns(source, item)
    if rows is None:
        rows = _keyed(item)
    return iter([Item(item)]) if rows is None else rows


def _inside(source: Source, value: Any, depth: int) -> Iterator[Item]:
    return map(Item, value) if isinstance(value, list) else _items(source, value, depth + 1)


def _holds_rows(value: Any) -> bool:
    """Whether `value` is a list of objects other than chat turns, or a non-empty object."""
    if isinstance(value, list):
        return bool(value) and not _is_turns(value) and all(isinstance(part, dict) for part in value)
    return isinstance(value, dict) and bool(value)


def _splits(item: dict) -> dict[str, Any] | None:
    """The entries that hold rows, if their names include a training and a validation or test split; else None."""
    sides = {
        key: side(key)
        for key, value in item.items()
        if _holds_rows(value) or (isinstance(value, list) and value and (_all_turns(value) or _all_texts(value)))
    }
    return {key: item[key] for key in sides} if {TRAIN, MEASURED} <= set(sides.values()) else None


def _all_turns(value: list) -> bool:
    """Whether `value` is a list of conversations, each of them a list of turns."""
    return all(_is_turns(part) for part in value)


def _all_texts(value: list) -> bool:
    return all(isinstance(part, str) for part in value)


def _of_splits(source: Source, splits: dict[str, Any], depth: int) -> Iterator[Item]:
    source.parted = True
    for name, value in splits.items():
        if not (found := side(name)):
            _left(source, next(iter(splits)), name)
            continue
        is_validation = found == MEASURED
        for found in _inside(source, value, depth):
            yield found._replace(is_validation=True) if is_validation else found


def _wrapped_rows(source: Source, item: dict, depth: int) -> Iterator[Item] | None:
    """Rows under one key of an object that may have other keys, such as metadata; None if there are none."""
    lists = [key for key, value in item.items() if isinstance(value, list) and _holds_rows(value)]
    lists.sort(key=lambda key: _LISTS.index(key.lower()) if key.lower() in _LISTS else len(_LISTS))
    if lists and (lists[0].lower() in _LISTS or len(item) == 1 or not _is_columns(item)):
        for key in lists[1:]:
            _left(source, lists[0], key)
        return map(Item, item[lists[0]])
    objects = [key for key, value in item.items() if isinstance(value, dict) and value]
    named = [key for key in objects if key.lower() in _WRAPPERS]
    if (
        depth < _DEPTH
        and len(named) == 1
        and not _COLUMNS & {key.lower() for key in item if key not in named}
        and not _is_columns(item)
    ):
        return _items(source, item[named[0]], depth + 1)
    conversations = [key for key, value in item.items() if isinstance(value, list) and value and _all_turns(value)]
    if len(conversations) == 1 and conversations[0].lower() in _WRAPPERS and (len(item) == 1 or not _is_columns(item)):
        return map(Item, item[conversations[0]])
    return None


def _left(source: Source, used: str, left: str) -> None:
    """Warn that the rows under the key `left` are not read, while those under `used` are."""
    source.warn(
        1,
        "left_aside",
        "{name} holds several lists; '{used}' is read, '{left}' is not. Put what you need into a file of its own.",
        name=source.name,
        used=used,
        left=left,
    )


def _pandas_rows(item: dict) -> Iterator[Item] | None:
    """Rows of pandas' orient="split" and "table"; None for any other object."""
    columns, data, schema = item.get("columns"), item.get("data"), item.get("schema")
    if isinstance(columns, list) and isinstance(data, list) and data and all(isinstance(row, list) for row in data):
        names = [".".join(map(str, name)) if isinstance(name, list) else str(name) for name in columns]
        return (Item(dict(zip(names, row, strict=True)) if len(row) == len(names) else row) for row in data)
    if (
        isinstance(schema, dict)
        and isinstance(schema.get("fields"), list)
        and isinstance(data, list)
        and all(isinstance(row, dict) for row in data)
    ):
        keys = schema.get("primaryKey")
        index = {key for key in (keys if isinstance(keys, list) else []) if key in ("index", "level_0")}
        return (Item({key: value for key, value in row.items() if key not in index}) for row in data)
    return None


def _columns(source: Source, item: dict) -> Iterator[Item] | None:
    """Rows of a table stored by columns; None if `item` is none. Raises StudioError for columns of unequal length."""
    if _is_columns(item):
        names, columns = list(item), [list(v.values()) if isinstance(v, dict) else v for v in item.values()]
        return (Item(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True))
    sizes = {key: len(value) for key, value in item.items() if isinstance(value, list)}
    if len(sizes) == len(item) > 1 and len(set(sizes.values())) > 1 and not any(_is_turns(v) for v in item.values()):
        raise StudioError(
            "The columns of {name} have different lengths ({sizes}), so they do not make rows. Correct the file, or "
            "save it as JSONL.",
            name=source.name,
            sizes=", ".join(f"{key}: {size}" for key, size in sizes.items())[:200],
        )
    return None


def _keyed(item: dict) -> Iterator[Item] | None:
    """Rows keyed by id, each an object or a list of turns; None if `item` does not look like that."""
    values = [value for value in item.values() if isinstance(value, list | dict)]
    if (
        len(values) < len(item) and len(values) < _ROWS_FROM
    ):  # with two or more rows, scalars beside them are metadata of the file
        return None
    if _COLUMNS & {str(key).lower() for key in item}:
        return None
    if len(values) >= _ROWS_FROM and all(isinstance(value, list) and _is_turns(value) for value in values):
        return map(Item, values)
    rows = [value for value in values if isinstance(value, dict) and value]
    alike = set.intersection(*map(set, rows)) if rows else set()
    usual = {str(key).lower() for key in alike} & _COLUMNS
    if len(rows) == len(values) and (usual or (len(rows) >= _ROWS_FROM and 2 * len(alike) >= len(rows[0]))):
        return map(Item, rows)
    return None


def _is_turns(value: Any) -> bool:
    """Whether `value` is a list of chat turns, which is a value of one row and not a list of rows."""
    return isinstance(value, list) and any(map(is_turn, value[:1]))


def _is_columns(item: dict) -> bool:
    """Whether `item` is {"a": [...], "b": [...]} with equal lengths, or pandas' {"a": {"0": ...}} with equal keys."""
    values = list(item.values())
    if values and all(isinstance(value, list) and not _is_turns(value) for value in values):
        return len({len(value) for value in values}) == 1 and len(values[0]) > 0
    if all(isinstance(value, dict) and value for value in values) and (
        len(values) > 1 or _COLUMNS & {str(key).lower() for key in item}
    ):
        return len({tuple(value) for value in values}) == 1 and _runs_down(item, values[0])
    return False


def _runs_down(item: dict, column: dict) -> bool:
    """Whether the outer of two levels of keys names the columns and the inner one the rows, not the reverse."""
    outer, inner = {str(key).lower() for key in item}, {str(key).lower() for key in column}
    numbered = all(key.isdigit() for key in outer), all(key.isdigit() for key in inner)
    if numbered[0] != numbered[1]:
        return numbered[1]
    if bool(outer & _COLUMNS) != bool(inner & _COLUMNS):
        return bool(outer & _COLUMNS)
    return len(inner) > len(outer)

"""Store records in an unnamed temporary file (`disk_list.py`) to limit memory use.

A million records need a few tens of MB of memory. Independent of the meaning of a record.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np
import orjson

from studio.data.disk_list import DiskList
from studio.data.fingerprints import Fingerprints
from studio.data.pictures import digest_of

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class Record(NamedTuple):
    """One normalised record. number: its line in the file; file: name of the file, if there are several."""

    number: int
    value: dict
    file: str = ""


class RecordStore:
    """Append-only store: `add` records, `seal` it, then read them by index."""

    def __init__(self, place: BinaryIO | Path | None = None):
        """place: file that stores the records, or folder to create one in; the system's temporary folder if None."""
        self.spool = DiskList(place)
        self.numbers = array("Q")
        self._files, self._names = array("I"), {"": 0}
        self.parts, self.is_validation = array("H"), array("B")
        self.labels, self.label_names = array("I"), {}
        self._spelling: dict[str, str] = {}
        self.digests = array("Q")
        self.inputs = array("Q")
        self.marks = Fingerprints()

    def add(
        self, number: int, value: dict, file: str = "", part: int = 0, label: str = "", is_validation: bool = False
    ) -> None:
        """Append one record.

        part: index of the data file it comes from; label: its label for counting, "" if it has none; is_validation:
        whether it is a validation record. Raises UnicodeEncodeError if a text holds a lone surrogate, and StudioError
        if the disk is full.
        """
        try:
            line = orjson.dumps(value, default=str)
        except TypeError:  # a lone surrogate, or an integer beyond 64 bits
            line = _encode(value).encode("utf-8")
        self.marks.add(texts(value))
        self.spool.append(line)
        self.numbers.append(number)
        self._files.append(self._names.setdefault(file, len(self._names)))
        self.parts.append(part)
        self.is_validation.append(is_validation)
        self.labels.append(self.label_names.setdefault(label, len(self.label_names) + 1) if label else 0)
        self.digests.append(_content(value, line))
        self.inputs.append(_digest(_input(value).encode("utf-8")))

    def seal(self) -> None:
        """Write the buffered records. Call once, after the last `add`."""
        self.spool.seal()
        self.marks.seal()
        self._labels = list(self._names)

    def relabel(self, spelling: dict[str, str]) -> int:
        """Replace labels (label → new label) and return the number of changed records. Call after `seal`."""
        self._spelling, before, self.label_names = spelling, self.label_names, {}
        renamed = {
            name: SEVERAL.join(dict.fromkeys(spelling.get(label, label) for label in name.split(SEVERAL)))
            for name in before
        }
        numbers = {
            number: self.label_names.setdefault(renamed[name], len(self.label_names) + 1)
            for name, number in before.items()
        } | {0: 0}
        touched = {number for name, number in before.items() if renamed[name] != name}
        changed = [index for index, number in enumerate(self.labels) if number in touched]
        self.labels = array("I", map(numbers.__getitem__, self.labels))
        for index in changed:
            value = self[index].value
            self.digests[index] = _content(value, orjson.dumps(value))
        return len(changed)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Record:
        value = json.loads(self.spool[index])
        return Record(
            self.numbers[index],
            _respelt(value, self._spelling) if self._spelling else value,
            self._labels[self._files[index]],
        )

    def file(self, index: int) -> str:
        """The file that record `index` comes from; "" if there is only one."""
        return self._labels[self._files[index]]


class Records(Sequence):
    """A selection of the records of a store, by index.

    Integer indexing and iteration read from disk; slices and index arrays give `Records`.
    """

    def __init__(self, store: RecordStore, indices: np.ndarray):
        self.store, self.indices = store, indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Records: ...
    def __getitem__(self, index):
        if isinstance(index, slice | np.ndarray):
            return Records(self.store, self.indices[index])
        return self.store[int(self.indices[index])]

    def __iter__(self) -> Iterator[Record]:
        return (self.store[int(index)] for index in self.indices)

    def column(self, name: str) -> np.ndarray:
        """One number per record, from the store's array `name`.

        parts: index of its file; is_validation: 1 for validation records; numbers: line; labels: label number, 0 if
        there is none; digests: hash of the content, equal for equal records; inputs: hash of the input, without the
        answer.
        """
        held = getattr(self.store, name)
        return (
            np.frombuffer(held, dtype=f"u{held.itemsize}")[self.indices]
            if len(self.store)
            else np.empty(0, f"u{held.itemsize}")
        )

    def marks(self, name: str) -> np.ndarray:
        """One entry per record: its `flags`, `characters`, `words` or `bands` (see `fingerprints.py`)."""
        return getattr(self.store.marks, name)[self.indices]

    @property
    def numbers(self) -> np.ndarray:
        return self.column("numbers")

    @property
    def digests(self) -> np.ndarray:
        return self.column("digests")

    @property
    def inputs(self) -> np.ndarray:
        return self.column("inputs")


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _content(value: dict, line: bytes) -> int:
    """Hash that identifies equal records; images are compared by their bytes. line: the value as it is stored."""
    return _digest(f"{digest_of(value['image'])}\0{value['label']}".encode() if "image" in value else line)


def _input(value: dict) -> str:
    """The model's input in a record: everything before the last answer."""
    if "text" in value:
        return value["text"]
    if "image" in value:
        return digest_of(value["image"])
    turns = value.get("prompt") or value["messages"][:-1]
    return "\x00".join(f"{turn['role']}\x01{turn['content']}" for turn in turns)


SEVERAL = "\x1f"
"""Separator between the labels of a record that has several."""


def label_of(shape: str, value: dict) -> str:
    """The label or labels by which a record of this shape is counted; "" if it has none."""
    if shape not in ("label", "label_columns", "image", "unpaired") or (shape == "unpaired" and "label" not in value):
        return ""
    label = value["label"] if "label" in value else value["messages"][-1]["content"]
    if isinstance(label, dict):
        label = [set_label(name, own) for name, own in label.items()]
    return SEVERAL.join(map(str, label)) if isinstance(label, list) else str(label)


def _respelt(value: dict, spelling: dict[str, str]) -> dict:
    """Return a record with its labels replaced according to `spelling`."""
    label = value["label"]
    if isinstance(label, dict):
        label = {
            name: spelling.get(whole := set_label(name, own), whole).removeprefix(set_label(name, ""))
            for name, own in label.items()
        }
    elif isinstance(label, list):
        label = list(dict.fromkeys(spelling.get(own, own) for own in label))
    else:
        label = spelling.get(label, label)
    return {**value, "label": label}


def set_label(name: str, label: str) -> str:
    """Name of a label of the label set `name`, unique among the labels of several sets."""
    return f"{name}: {label}"


def texts(value: dict[str, Any]) -> list[str]:
    """All texts in a record that are input or training target, including the arguments of tool calls."""
    if "text" in value:
        return [value["text"]]
    if "image" in value:
        return []
    turns = value.get("messages") or value.get("prompt", [])
    found = [turn["content"] for turn in turns] + [
        text
        for turn in turns
        for call in turn.get("tool_calls", ())
        for text in _strings(call["function"]["arguments"])
    ]
    return found + [value[key] for key in ("chosen", "rejected", "completion") if key in value]


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON-like value, without the keys of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)

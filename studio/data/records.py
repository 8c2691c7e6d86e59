"""Records kept in an unnamed temporary file, so that a million of them cost a few tens of MB of memory.

The file has no name (on POSIX), so nothing stays behind however the process ends. Reads are positional, so threads and
forked loader workers can share it. Knows nothing about what a record means.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from studio.words import StudioError

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_BUFFER = 4 * 2**20


class Record(NamedTuple):
    """One normalised record. number: its line in the file; file: the member, inside a zip of several."""

    number: int
    value: dict
    file: str = ""


class RecordStore:
    """Append records, then `seal`, then read them by index."""

    def __init__(self):
        self._file = tempfile.TemporaryFile(prefix="delta-studio-records-")  # noqa: SIM115 - lives as long as the store
        self._buffer = bytearray()
        self._ends = array("Q", [0])
        self._lock = threading.Lock()
        self.numbers = array("Q")
        self._files, self._names = array("I"), {"": 0}
        self.digests = array("Q")
        self.inputs = array("Q")

    def add(self, number: int, value: dict, file: str = "") -> None:
        """Appends one record. Raises UnicodeEncodeError where its text holds half a character (a lone surrogate), and
        StudioError where the disk is full."""
        line = _encode(value).encode("utf-8")
        self._buffer += line
        self._ends.append(self._ends[-1] + len(line))
        self.numbers.append(number)
        self._files.append(self._names.setdefault(file, len(self._names)))
        self.digests.append(_digest(line))
        self.inputs.append(_digest(_input(value).encode("utf-8")))
        if len(self._buffer) > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        try:
            self._file.write(self._buffer)
            self._file.flush()
        except OSError as error:
            raise StudioError(
                "The data cannot be kept in the temporary folder {folder} ({detail}). Free some disk space there.",
                folder=tempfile.gettempdir(), detail=error.strerror or str(error),
            ) from error
        self._buffer = bytearray()

    def seal(self) -> None:
        """Writes what is still buffered. Call once, after the last `add`."""
        self._flush()
        self._labels = list(self._names)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Record:
        start, end = self._ends[index], self._ends[index + 1]
        if hasattr(os, "pread"):
            line = os.pread(self._file.fileno(), end - start, start)
        else:  # Windows
            with self._lock:
                self._file.seek(start)
                line = self._file.read(end - start)
        return Record(self.numbers[index], json.loads(line), self._labels[self._files[index]])

    def file(self, index: int) -> str:
        """The member of a zip that record `index` came from."""
        return self._labels[self._files[index]]


class Records(Sequence):
    """Some of the records of a store, by their indices, in order. Indexing reads from disk."""

    def __init__(self, store: RecordStore, indices: np.ndarray):
        self.store, self.indices = store, indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return Records(self.store, self.indices[index])
        return self.store[int(self.indices[index])]

    def __iter__(self) -> Iterator[Record]:
        return (self.store[int(index)] for index in self.indices)

    @property
    def numbers(self) -> np.ndarray:
        """Line number of each record."""
        return np.frombuffer(self.store.numbers, dtype=np.uint64)[self.indices] if len(self.store) else np.empty(0, np.uint64)

    @property
    def digests(self) -> np.ndarray:
        """64-bit digest of each record's content; equal records have equal digests."""
        return np.frombuffer(self.store.digests, dtype=np.uint64)[self.indices] if len(self.store) else np.empty(0, np.uint64)

    @property
    def inputs(self) -> np.ndarray:
        """64-bit digest of what is asked in each record, without the answer."""
        return np.frombuffer(self.store.inputs, dtype=np.uint64)[self.indices] if len(self.store) else np.empty(0, np.uint64)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _input(value: dict) -> str:
    """What the model is given in a record: all before the last answer."""
    if "text" in value:
        return value["text"]
    turns = value.get("prompt") or value["messages"][:-1]
    return "\x00".join(f"{turn['role']}\x01{turn['content']}" for turn in turns)


def texts(value: dict[str, Any]) -> list[str]:
    """Every text in a record that a model would read or learn."""
    if "text" in value:
        return [value["text"]]
    found = [turn["content"] for turn in value.get("messages") or value.get("prompt", [])]
    return found + [value[key] for key in ("chosen", "rejected", "completion") if key in value]

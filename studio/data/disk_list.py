"""Append-only list of byte strings in an unnamed temporary file, at eight bytes of memory per item.

The file is unlinked (on POSIX), so nothing remains however the process ends. Reads are positional (`pread`), so threads
and forked data loader workers can share the file, as can a parent process whose child filled it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from array import array
from pathlib import Path
from typing import BinaryIO

from studio.words import StudioError

_BUFFER = 4 * 2**20


class DiskList:
    """List of byte strings on disk: `append` items, then `seal`, then read them by index."""

    def __init__(self, place: BinaryIO | Path | None = None):
        """place: file to store the items in, or folder to create one in; the system's temporary folder if None."""
        self._folder = str(place) if isinstance(place, Path) else tempfile.gettempdir()
        own = place is None or isinstance(place, Path)
        self._file = (
            tempfile.TemporaryFile(prefix="delta-studio-", dir=self._folder)  # noqa: SIM115 - open as long as the list
            if own
            else place
        )
        self._buffer = bytearray()
        self._ends = array("Q", [0])
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        """All attributes but the open file and the lock; the receiving process passes its own handle to `attach`."""
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_lock")}

    def attach(self, file: BinaryIO) -> None:
        """Read from `file`, to which this list was written in another process."""
        self._file, self._lock = file, threading.Lock()

    def append(self, piece: bytes) -> None:
        """Append one item. Raises StudioError if writing fails, for example because the disk is full."""
        self._buffer += piece
        self._ends.append(self._ends[-1] + len(piece))
        if len(self._buffer) > _BUFFER:
            self.seal()

    def seal(self) -> None:
        """Write the buffer to the file; call after the last `append`. Raises StudioError if writing fails."""
        try:
            self._file.write(self._buffer)
            self._file.flush()
        except OSError as error:
            raise StudioError(
                "The data cannot be kept in the folder {folder} ({detail}). Free some disk space there.",
                folder=self._folder,
                detail=error.strerror or str(error),
            ) from error
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        start, end = self._ends[index], self._ends[index + 1]
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), end - start, start)
        with self._lock:  # Windows has no pread
            self._file.seek(start)
            return self._file.read(end - start)

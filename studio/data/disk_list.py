"""Pieces of bytes kept in an unnamed file, so that a million of them cost eight bytes of memory each.

The file has no name (on POSIX), so nothing stays behind however the process ends. Reads are positional, so threads and
forked loader workers can share it, and so can the process that had another one fill it. Knows nothing about what the
pieces mean.
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
    """Append pieces, then `seal`, then read them by index."""

    def __init__(self, place: BinaryIO | Path | None = None):
        """place: the file to keep them in, or the folder to make one in; the system's temporary folder if not given."""
        self._folder = str(place) if isinstance(place, Path) else tempfile.gettempdir()
        own = place is None or isinstance(place, Path)
        self._file = tempfile.TemporaryFile(prefix="delta-studio-", dir=self._folder) if own else place  # noqa: SIM115 - lives as long as the spool
        self._buffer = bytearray()
        self._ends = array("Q", [0])
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        """All but the file, which another process gets by itself and hands to `attach`."""
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_lock")}

    def attach(self, file: BinaryIO) -> None:
        """Read from `file`, which holds what this spool wrote in another process."""
        self._file, self._lock = file, threading.Lock()

    def append(self, piece: bytes) -> None:
        """Raises StudioError where the disk is full."""
        self._buffer += piece
        self._ends.append(self._ends[-1] + len(piece))
        if len(self._buffer) > _BUFFER:
            self.seal()

    def seal(self) -> None:
        """Writes what is still buffered. Call after the last `append`. Raises StudioError where the disk is full."""
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
        with self._lock:  # Windows
            self._file.seek(start)
            return self._file.read(end - start)

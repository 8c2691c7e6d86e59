"""Error messages for jobs, with advice: from an exception in the worker, or from how its process ended.

Errors of torch are recognised by their names and messages, so torch is not imported.
"""

from __future__ import annotations

import errno
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from studio.words import Sentence, StudioError

# messages of torch on a GPU, torch on a CPU, the kernel, others
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_DISK_WORDS = ("No space left on device", "database or disk is full")  # safetensors (Rust) and SQLite


def reason_of_exception(error: BaseException, home: Path) -> Sentence:
    """The message for an exception that ended a job. home: named for a full disk where the error has no path."""
    for link in _chain(error):
        if isinstance(link, StudioError):
            return link.sentence
        if storage := reason_of_storage(link, home):
            return storage
        if _out_of_memory(link):
            return Sentence(
                "Not enough memory: {error}. Halve the batch size, turn on gradient checkpointing, or use QLoRA.",
                error=_first_line(link),
            )
    return Sentence("The worker failed: {error}. The full report is in the log.", error=_first_line(error))


def reason_of_storage(error: BaseException, home: Path) -> Sentence | None:
    """The message for an error of the disk or of the database: full, locked, or not writable; None for any other.

    home: named where the error has no path.
    """
    path = str(getattr(error, "filename", None) or home)
    if _disk_is_full(error):
        return Sentence(
            "The disk is full: {path} could not be written. Free some space there, then press Resume or try again.",
            path=path,
        )
    if isinstance(error, sqlite3.OperationalError) and "database is locked" in str(error):
        return Sentence(
            "Another program has kept the studio's database in {path} locked for too long. End that program, then "
            "press Resume or try again.",
            path=path,
        )
    if _is_read_only(error, home):
        return Sentence(
            "{path} cannot be written: {error}. Make it writable for the user who runs the studio, then press Resume "
            "or try again.",
            path=path,
            error=_first_line(error),
        )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error, or one that caused it, is that of an allocation that failed."""
    return any(_out_of_memory(link) for link in _chain(error))


def reason_of_exit(code: int | None, number: int | None, kind: str) -> Sentence:
    """The message for a worker that ended without recording an outcome.

    code, number: exit code and signal of the process; both None if they could not be observed. kind: of the job.
    """
    resumable = kind == "train"
    if number == signal.SIGKILL and resumable:
        text = (
            "The worker was killed by signal {number} ({name}). Press Resume to continue from the last "
            "checkpoint; if this repeats, the machine may be out of memory."
        )
    elif number == signal.SIGKILL:
        text = (
            "The worker was killed by signal {number} ({name}). Try again; if this repeats, the machine may be "
            "out of memory."
        )
    elif number is not None and resumable:
        text = (
            "The worker was ended by signal {number} ({name}). Press Resume to continue from the last "
            "checkpoint; the full report is in the log."
        )
    elif number is not None:
        text = "The worker was ended by signal {number} ({name}). Try again; the full report is in the log."
    elif code is not None:
        return Sentence(
            "The worker ended with exit code {code} and without a final word. The full report is in the log.", code=code
        )
    elif resumable:
        return Sentence(
            "The worker is gone, and nobody saw how it ended: its supervisor was not running then. "
            "Press Resume to continue from the last checkpoint."
        )
    else:
        return Sentence(
            "The worker is gone, and nobody saw how it ended: its supervisor was not running then. Try again."
        )
    return Sentence(text, number=int(number), name=signal_name(number))


def reason_of_kill(seconds: float, kind: str, *, discarded: bool = False) -> Sentence:
    """The message for a job that was killed because it did not stop within `seconds` after the request.

    discarded: it was to leave nothing behind, so there is no checkpoint to continue from.
    """
    if kind == "train" and not discarded:
        return Sentence(
            "It did not stop within {seconds} seconds, so its worker was ended by force. "
            "Steps since the last checkpoint are lost; Resume continues from there.",
            seconds=round(seconds, 1),
        )
    return Sentence(
        "It did not stop within {seconds} seconds, so its worker was ended by force.", seconds=round(seconds, 1)
    )


def reason_not_started(error: BaseException) -> Sentence:
    return Sentence(
        "No worker could be started: {error}. Close other programs and try again.", error=_first_line(error)
    )


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # real-time signals have no name


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and its causes: libraries often wrap the error of a full disk in one of their own."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error) for words in _DISK_WORDS)


def _is_read_only(error: BaseException, home: Path) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in ("readonly database", "unable to open database file"))
    if not isinstance(error, OSError) or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return False
    # Elsewhere it may be a file that cannot be read.
    return error.errno == errno.EROFS or Path(str(error.filename or "")).is_relative_to(home)


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | OSError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def _first_line(error: BaseException) -> str:
    """`Type: message`, only the first line, at most 300 characters, without its full stop (the sentence adds one)."""
    message = (str(error).strip().splitlines() or [""])[0].rstrip(". ")[:300]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__

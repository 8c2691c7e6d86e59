"""Who a process is (pid and time of creation), and the lock that only one process can hold.

It knows nothing about jobs, and nothing about what the processes do.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import psutil

# psutil adds the time of the last boot, which the kernel rounds to seconds, so two processes may read the
# same creation a second apart. A pid does not come round again that fast.
_TOLERANCE = 2.0


def current_process() -> tuple[int, float]:
    """This process: (pid, time of creation in seconds since the epoch)."""
    return os.getpid(), psutil.Process().create_time()


def find(pid: int | None, created: float | None) -> psutil.Process | None:
    """The living process that was created then; None if it has ended or the pid is another's now."""
    if pid is None or created is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < _TOLERANCE
    except psutil.NoSuchProcess:
        return None
    return process if same and is_living(process) else None


def is_living(process: psutil.Process | int) -> bool:
    """Whether the process still runs. A zombie has ended; so has a `Process` whose pid is another's now."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.is_running() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def supervisor_lock(home: Path) -> Path:
    """The file whose lock makes a process the supervisor of the home folder."""
    return home / "supervisor.lock"


class Lock:
    """A file lock that the kernel drops when its holder is gone, however that happened.

    It belongs to the open file, so whoever inherits the descriptor inherits the lock: a window takes the
    supervisor's lock and hands it to the supervisor that it starts, and no moment is left for a second one.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, descriptor: int | None = None) -> Lock | None:
        """The lock on `path`, by an inherited `descriptor` if given; None if somebody else holds it."""
        if descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(descriptor, False)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def sign(self) -> None:
        """Write into the file who holds it, for people and for `holder`."""
        pid, created = current_process()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps({"pid": pid, "created": created}).encode(), 0)

    def still_there(self) -> bool:
        """Whether `path` is the file that is locked, rather than deleted or replaced by another."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def drop(self) -> None:
        """Close the file; the lock is free unless a child has inherited it."""
        os.close(self.descriptor)

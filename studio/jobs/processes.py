"""Identify processes by pid and creation time, and the file lock of the supervisor.

Independent of jobs and of what the processes do.
"""

from __future__ import annotations

import fcntl
import json
import os
from functools import cache
from pathlib import Path

import psutil

_TOLERANCE = 2.0  # seconds; the creation times of psutil are rounded by up to one, and a pid is not reused that fast


def current_process() -> tuple[int, float]:
    """(pid, creation time) of this process, for `find`; the time in seconds, from a moment that `_created` chooses."""
    return os.getpid(), _created(psutil.Process())


def find(pid: int | None, created: float | None) -> psutil.Process | None:
    """The live process with this pid and creation time; None if it has ended or the pid was reused.

    created: from `current_process`, or as psutil has it, which earlier versions have recorded.
    """
    if pid is None or created is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(_created(process) - created) < _TOLERANCE or abs(process.create_time() - created) < _TOLERANCE
    except psutil.NoSuchProcess:
        return None
    return process if same and is_living(process) else None


def _created(process: psutil.Process) -> float:
    """The creation time of a process, which does not change when somebody sets the clock.

    psutil adds the time of the boot as the clock has it now, so that after a step of the clock a living process would
    not be found again. On Linux it is therefore counted from the boot, plus a number that tells boots apart.
    """
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return _boot() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError):  # not Linux, or the process is gone
        return process.create_time()


@cache
def _boot() -> float:
    """A number for this boot of the machine, far apart from that of any other."""
    return 1000.0 * int(Path("/proc/sys/kernel/random/boot_id").read_text()[:8], 16)


def is_living(process: psutil.Process | int) -> bool:
    """Whether the process is running; False for a zombie and for a `Process` whose pid was reused."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.is_running() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_suspended(pid: int | None, created: float | None) -> bool:
    """Whether the process was stopped by SIGSTOP, as by a debugger or Ctrl+Z, and waits for SIGCONT."""
    process = find(pid, created)
    try:
        return bool(process) and process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def supervisor_lock(home: Path) -> Path:
    """The lock file of the home folder's supervisor."""
    return home / "supervisor.lock"


class Lock:
    """A file lock (flock) that the kernel releases when its holder exits for any reason.

    It belongs to the open file, so a child that inherits the descriptor inherits the lock: a window takes the lock and
    passes it to the supervisor that it starts, so that no second supervisor can start in between.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, descriptor: int | None = None) -> Lock | None:
        """Acquire the lock on `path`, through an inherited `descriptor` if given; None if another process holds it."""
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
        """Write pid and creation time of the holder into the file, for diagnosis."""
        pid, created = current_process()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps({"pid": pid, "created": created}).encode(), 0)

    def still_there(self) -> bool:
        """Whether `path` still is the locked file, and was not deleted or replaced."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def drop(self) -> None:
        """Close the file, which releases the lock unless a child has inherited it."""
        os.close(self.descriptor)

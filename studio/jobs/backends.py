"""The machines a job can run on. A backend starts a worker for a job, finds one again, and hears of its end.

`Local` is this machine: a warm standby where there is one, a fresh process otherwise. A backend knows nothing
about the queue, about Stop or about what the store says; it is the supervisor that decides.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import psutil

from studio.home import REPOSITORY, Home
from studio.jobs import processes
from studio.jobs.job import log_path

log = logging.getLogger("supervisor")

MARK = "DELTA_STUDIO_WORKER_OF"  # in the environment of every worker and of whatever it starts: the home folder


@dataclass(frozen=True)
class Exit:
    """How a process left: its exit code, or the signal that ended it; neither if nobody could see it."""

    code: int | None = None
    signal: int | None = None


class Handle(Protocol):
    """A worker, as the supervisor holds it."""

    pid: int
    warm: bool  # it came from a standby

    def poll(self) -> Exit | None:
        """How it left, once it has; None while it lives."""

    def terminate(self) -> None:
        """Ask the worker to end (SIGTERM)."""

    def kill(self) -> None:
        """End the worker and everything that it started."""


class Backend(Protocol):
    def start(self, job: dict) -> Handle:
        """A worker for a queued job, which it will claim itself. Raises OSError if none can be started."""

    def adopt(self, job: dict) -> Handle | None:
        """The living worker of a running job that another supervisor started; None if there is none."""

    def maintain_standby(self, wanted: bool) -> dict:
        """Called often: keep a standby warm if one is wanted. Returns {"pid": int or None, "ready": bool}."""

    def close(self) -> None:
        """End what has no job. Workers go on."""


class Local:
    """This machine. `delay` is how many seconds after a start the next standby begins its imports, which take
    five seconds of a core that the job that has just started could use."""

    def __init__(self, home: Home, delay: float):
        self.home = home
        self.delay = delay
        self._standby: Standby | None = None
        self._next_standby = 0.0

    def start(self, job: dict) -> Handle:
        self._next_standby = time.monotonic() + self.delay
        standby, self._standby = self._standby, None
        if standby and standby.assign(job["id"]):
            return Child(standby.process, warm=True)
        with open(log_path(self.home, job["id"]), "ab") as output:
            return Child(
                _spawn("worker", self.home, str(job["id"]), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            )

    def adopt(self, job: dict) -> Handle | None:
        process = processes.find(job["pid"], job["pid_created"])
        if not process and job["pid"]:
            kill_orphans(job["pid"], self.home)
        return Adopted(process, self.home) if process else None

    def maintain_standby(self, wanted: bool) -> dict:
        if self._standby and self._standby.process.poll() is not None:
            log.warning("the standby left with %s; see logs/standby.log", self._standby.process.returncode)
            self.close()
            self._next_standby = time.monotonic() + 60  # what broke its imports will break them again
        if not self._standby and wanted and time.monotonic() >= self._next_standby:
            try:
                self._standby = Standby(self.home)
            except OSError as error:
                log.warning("no standby could be started: %s", error)
                self._next_standby = time.monotonic() + 60
        if not self._standby:
            return {"pid": None, "ready": False}
        return {"pid": self._standby.process.pid, "ready": self._standby.ready()}

    def close(self) -> None:
        if self._standby:
            self._standby.close()
            self._standby = None


class Standby:
    """A process that imports, says that it is ready, and waits for its job; see `studio.jobs.standby`."""

    def __init__(self, home: Home):
        with open(home.logs / "standby.log", "wb") as output:
            self.process = _spawn("standby", home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
        os.set_blocking(self.process.stdout.fileno(), False)
        self._ready = False

    def ready(self) -> bool:
        if not self._ready:
            with contextlib.suppress(BlockingIOError):  # nothing said yet
                self._ready = bool(os.read(self.process.stdout.fileno(), 64))
        return self._ready

    def assign(self, job_id: int) -> bool:
        """Give it its job, which it takes as soon as its imports are done. False if it is dead."""
        try:
            os.write(self.process.stdin.fileno(), json.dumps({"job": job_id}).encode() + b"\n")
        except BrokenPipeError:
            self.close()
            return False
        self._close_pipes()
        return True

    def close(self) -> None:
        """End it. It has nothing worth keeping, and may be in the middle of an import."""
        self.process.kill()
        self.process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()


class Child:
    """A worker that this supervisor started."""

    def __init__(self, process: subprocess.Popen, warm: bool = False):
        self.pid = process.pid
        self.warm = warm
        self._process = process
        self._exit: Exit | None = None

    def poll(self) -> Exit | None:
        if self._exit:
            return self._exit
        code = self._process.poll()
        if code is not None:
            _kill_group(self.pid)  # what a dead worker has started is nobody's now
            self._exit = Exit(code=code) if code >= 0 else Exit(signal=-code)
        return self._exit

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        _kill_group(self.pid)


class Adopted:
    """A worker that an earlier supervisor started. It is not our child, so how it leaves cannot be seen."""

    warm = False

    def __init__(self, process: psutil.Process, home: Home):
        self.pid = process.pid
        self._process = process
        self._home = home

    def poll(self) -> Exit | None:
        if processes.is_living(self._process):
            return None
        kill_orphans(self.pid, self._home)
        return Exit()

    def terminate(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.terminate()

    def kill(self) -> None:
        if processes.is_living(self._process):
            _kill_group(self.pid)
            with contextlib.suppress(psutil.NoSuchProcess):  # started in a terminal, it may lead no group
                self._process.kill()


def kill_orphans(pid: int, home: Home) -> None:
    """End what the dead worker `pid` of some time ago has left behind in its process group.

    The machine may have restarted since and the number be another group's, so each must carry our mark.
    """
    if processes.is_living(pid):
        return  # the number has come round again, which the kernel allows only if the group was empty
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == pid and process.environ().get(MARK) == str(home.root):
                process.kill()


def _kill_group(pid: int) -> None:
    # Each worker leads a group of its own. On macOS a group of zombies answers with PermissionError.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _spawn(module: str, home: Home, *arguments: str, **streams) -> subprocess.Popen:
    """A process in a session of its own: no Ctrl-C in a terminal reaches it, and it outlives its parent."""
    command = [sys.executable, "-m", f"studio.jobs.{module}", str(home.root), *arguments]
    environment = os.environ | {MARK: str(home.root)}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True, **streams)

"""Backends: start the worker of a job, find a running one again, and detect its exit.

`Local` is this machine: it uses the warm standby process if there is one, else a new process. A backend does not use
the queue or the store and does not decide when to stop; the supervisor does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import psutil

from studio.home import REPOSITORY, Home
from studio.jobs import processes, queue
from studio.jobs.job import log_path

log = logging.getLogger("supervisor")

MARK = "DELTA_STUDIO_WORKER_OF"  # environment variable of every worker and its child processes: the home folder


@dataclass(frozen=True)
class Exit:
    """How a process ended: its exit code, or the signal that killed it; both None if it could not be observed."""

    code: int | None = None
    signal: int | None = None


class Handle(Protocol):
    """The supervisor's handle of a worker process."""

    pid: int
    warm: bool  # whether it was a standby process

    def poll(self) -> Exit | None:
        """How the worker ended; None while it is running."""

    def terminate(self) -> None:
        """Send SIGTERM to the worker."""

    def kill(self) -> None:
        """Kill the worker and its child processes."""


class Backend(Protocol):
    """Where workers run."""

    def start(self, job: dict) -> Handle:
        """Start a worker for a queued job; the worker claims the job itself. Raises OSError if it cannot be started."""

    def adopt(self, job: dict) -> Handle | None:
        """Find the live worker of a running job that another supervisor started; None if there is none."""

    def maintain_standby(self, wanted: bool) -> dict:
        """Keep a standby process running if `wanted`; called often. Returns {"pid": int or None, "ready": bool}."""

    def close(self) -> None:
        """Kill the standby process. Workers keep running."""


class Local:
    """This machine.

    delay: seconds from the start of a worker to that of the next standby process, whose imports take five seconds of
    CPU time that the new worker could use.
    """

    def __init__(self, home: Home, delay: float):
        self.home = home
        self.delay = delay
        self._standby: Standby | None = None
        self._next_standby = 0.0

    def start(self, job: dict) -> Handle:
        self._next_standby = time.monotonic() + self.delay
        standby = None
        if job["kind"] not in queue.LIGHT:
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
            self._next_standby = time.monotonic() + 60  # it would probably fail again at once
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
    """A process that has imported the libraries and waits for a job; see `studio.jobs.standby`."""

    def __init__(self, home: Home):
        with open(home.logs / "standby.log", "wb") as output:
            self.process = _spawn("standby", home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
        os.set_blocking(self.process.stdout.fileno(), False)
        self._ready = False

    def ready(self) -> bool:
        if not self._ready:
            with contextlib.suppress(BlockingIOError):  # no output yet
                self._ready = bool(os.read(self.process.stdout.fileno(), 64))
        return self._ready

    def assign(self, job_id: int) -> bool:
        """Send it the job, which it starts as soon as its imports are done. False if the process is dead."""
        try:
            os.write(self.process.stdin.fileno(), json.dumps({"job": job_id}).encode() + b"\n")
        except BrokenPipeError:
            self.close()
            return False
        self._close_pipes()
        return True

    def close(self) -> None:
        """Kill the process, which has no state to save."""
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
            _kill_group(self.pid)  # child processes that the dead worker has left behind
            self._exit = Exit(code=code) if code >= 0 else Exit(signal=-code)
        return self._exit

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        _kill_group(self.pid)


class Adopted:
    """A worker that another process started. As it is not our child, its exit code cannot be read."""

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
            with contextlib.suppress(psutil.NoSuchProcess):  # if started in a terminal, it may not be a group leader
                self._process.kill()


def kill_orphans(pid: int, home: Home) -> None:
    """Kill the processes that are left in the process group of the dead worker `pid`.

    The number may meanwhile be that of another group (after a reboot), so only processes with our `MARK` are killed.
    """
    if processes.is_living(pid):
        return  # the pid was reused, which the kernel allows only if the group is empty
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == pid and process.environ().get(MARK) == str(home.root):
                process.kill()


def _kill_group(pid: int) -> None:
    # Each worker leads a process group. On macOS killpg raises PermissionError for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _quick_imports() -> dict[str, str]:
    """Without a GPU nothing is compiled, and bitsandbytes, which wants to compile its kernels when it is imported, need
    not load torch's compiler: 2 of the 12 seconds of CPU time that a worker's imports take."""
    return {} if shutil.which("nvidia-smi") else {"TORCHDYNAMO_DISABLE": "1"}


def _spawn(module: str, home: Home, *arguments: str, **streams) -> subprocess.Popen:
    """Start a process in a new session, so that it gets no Ctrl-C from the terminal and outlives its parent."""
    command = [sys.executable, "-m", f"studio.jobs.{module}", str(home.root), *arguments]
    environment = _quick_imports() | os.environ | {MARK: str(home.root)}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True, **streams)

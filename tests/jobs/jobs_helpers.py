"""What the tests of jobs share: a studio in a temporary home, waiting, and finding every process."""

import contextlib
import time

import psutil

from studio.home import Home
from studio.jobs import client
from studio.jobs.backends import MARK
from studio.jobs.processes import Lock, is_living, supervisor_lock
from studio.store import ENDED, Store


def wait_for(what, timeout=20.0):
    """The first true value of `what()`."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{timeout} s passed and it never came true")


def processes_of(home: Home, module: str = "") -> list[psutil.Process]:
    """Supervisors, standbys and workers of the home, and their children; or those that run `module`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            ours = str(home.root) in command or process.environ().get(MARK) == str(home.root)
            if ours and is_living(process) and (not module or module in command):
                found.append(process)
    return found


class Studio:
    def __init__(self, home: Home):
        self.home = home
        self.store = Store(home.database)

    def run(self, act="answer", device="cpu", **payload) -> int:
        """Queue a new run; returns the id of its job."""
        _, job_id = self.store.create_run(act, {}, device, {"act": act, **payload})
        client.ensure_supervisor(self.home)
        return job_id

    def job(self, kind, act="answer", device="cpu", **payload) -> int:
        return client.start_job(self.store, kind, {"act": act, **payload}, device)

    def began(self, job_id) -> dict:
        """The first word of the job's function."""
        return wait_for(lambda: self.store.events(job_id=job_id, kind="began"))[0]["data"]

    def ended(self, job_id) -> dict:
        """The job's row once its final word is written."""
        return wait_for(lambda: (row := self.store.job(job_id))["state"] in ENDED and row)

    def left(self, job_id) -> dict:
        """The job's row once its process is gone and the exit is recorded."""
        return wait_for(lambda: (row := self.ended(job_id)) and (row["exit_code"] is not None or row["signal"]) and row)

    def reason(self, row) -> str:
        return row["reason"] and row["reason"]["text"].format(**row["reason"]["values"])

    def supervisors(self) -> list[psutil.Process]:
        return processes_of(self.home, "studio.jobs.supervisor")

    def supervisor(self) -> psutil.Process:
        return wait_for(self.supervisors)[0]

    def kill_supervisor(self) -> None:
        process = self.supervisor()
        process.kill()
        # Its main thread is a zombie a moment before its last thread has let go of the lock.
        wait_for(lambda: (lock := Lock.take(supervisor_lock(self.home.root))) and (lock.drop() or True))

    def window(self) -> None:
        """Be a window, and wait until a standby is warm."""
        client.register_window(self.home)
        wait_for(lambda: client.warm(self.store))


def end_everything(home: Home) -> None:
    """Again and again until nothing is left: a supervisor may start something while it is looked for."""

    def none_left():
        found = processes_of(home)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not found

    wait_for(none_left)

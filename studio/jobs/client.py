"""The interface for windows: start the supervisor if necessary, and queue, stop and resume jobs.

Each function first writes to the store and then calls `ensure_supervisor`, so that a supervisor that is about to exit
either sees the request or has released its lock (see `Supervisor.leave`).
"""

from __future__ import annotations

import subprocess
import sys

import psutil

from studio.home import REPOSITORY, Home
from studio.jobs import processes
from studio.store import Store
from studio.words import StudioError

_started: list[subprocess.Popen] = []  # started by this process; ended ones stay zombies until polled


def ensure_supervisor(home: Home) -> bool:
    """Start a supervisor if none is running; True if one was started. Safe to call from several windows at once.

    Takes microseconds if one is running. A window also calls it about once a second, which restarts a supervisor that
    was killed; a dying supervisor can hold its lock for some milliseconds.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    lock = processes.Lock.take(processes.supervisor_lock(home.root))
    if not lock:
        return False
    try:
        command = [sys.executable, "-m", "studio.jobs.supervisor", str(home.root), "--lock", str(lock.descriptor)]
        # For errors before the supervisor has opened its own log; overwritten each time, so it cannot grow.
        with open(home.logs / "supervisor-start.log", "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                pass_fds=(lock.descriptor,),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
    finally:
        lock.drop()
    _started.append(process)
    return True


def register_window(home: Home) -> None:
    """Register this process as a window. While it runs, the supervisor keeps running, with a warm standby process."""
    pid, created = processes.current_process()
    store = Store(home.database)
    with store.transaction():
        others = [
            window
            for window in store.note("windows", [])
            if window["pid"] != pid and processes.find(window["pid"], window["created"])
        ]
        store.set_note("windows", [*others, {"pid": pid, "created": created}])
    store.close()
    ensure_supervisor(home)


def start_run(home: Home, store: Store, name: str, recipe: dict, device: str) -> str:
    """Queue a new run; returns the run's id."""
    run_id, _ = store.create_run(name, recipe, device)
    ensure_supervisor(home)
    return run_id


def resume_run(store: Store, run_id: str) -> int:
    """Queue another job that resumes the run from its last checkpoint; returns the job's id.

    Raises `StudioError` if the run does not exist or has not ended.
    """
    job_id = store.queue_again(run_id, {"resume": True})
    if job_id is None:
        run = store.run(run_id)
        if run is None:
            raise StudioError("There is no run '{run}' any more.", run=run_id)
        raise StudioError(
            "'{name}' cannot be resumed while it is still waiting or running. Stop it first, or wait until it ends.",
            name=run["name"],
        )
    ensure_supervisor(_home_of(store))
    return job_id


def start_job(store: Store, kind: str, payload: dict, device: str = "cpu", run_id: str | None = None) -> int:
    """Queue a job of another kind ("chat", "inspect", "export"); returns the job's id."""
    job_id = store.queue_job(kind, payload, run_id=run_id, device=device)
    ensure_supervisor(_home_of(store))
    return job_id


def stop(store: Store, job_id: int) -> None:
    """Request a job to stop. A queued job stops at once; one that does not react is killed by the supervisor."""
    store.command(job_id, "stop")
    ensure_supervisor(_home_of(store))


def warm(store: Store) -> bool:
    """Whether a standby process has finished its imports, so that a job would start at once."""
    standby = store.note("standby") or {}
    return bool(standby.get("ready")) and psutil.pid_exists(standby["pid"])


def _home_of(store: Store) -> Home:
    return Home(store.path.parent)

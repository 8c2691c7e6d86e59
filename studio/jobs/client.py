"""What a window uses: make sure that a supervisor is there, queue jobs, stop and resume them.

Each function writes to the store first and calls `ensure_supervisor` after that, so that a supervisor that is
just leaving sees the word or frees the lock (see `Supervisor.leave`). It knows nothing about how jobs run.
"""

from __future__ import annotations

import subprocess
import sys

import psutil

from studio.home import REPOSITORY, Home
from studio.jobs import processes
from studio.store import Store
from studio.words import StudioError

_started: list[subprocess.Popen] = []  # supervisors of ours: one that has ended stays a zombie until it is polled


def ensure_supervisor(home: Home) -> bool:
    """Start a supervisor if none is alive; True if one was started. Safe from any number of windows at once.

    It takes microseconds when one is there. A window calls it with its timer too, every second or so: that is
    what brings a supervisor back that was killed, and a dying one may hold its lock for milliseconds.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    lock = processes.Lock.take(processes.supervisor_lock(home.root))
    if not lock:
        return False
    try:
        command = [sys.executable, "-m", "studio.jobs.supervisor", str(home.root), "--lock", str(lock.descriptor)]
        # Its errors before its own log is open; written anew each time, so it cannot grow.
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
    """Make this process known as a window. While it lives the supervisor stays, with a warm standby."""
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
    """Queue a new run; returns its id."""
    run_id, _ = store.create_run(name, recipe, device)
    ensure_supervisor(home)
    return run_id


def resume_run(store: Store, run_id: str) -> int:
    """Queue the run once more, to go on from its last checkpoint; returns the job's id."""
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
    """Queue any other job ("chat", "inspect", "export"); returns its id."""
    job_id = store.queue_job(kind, payload, run_id=run_id, device=device)
    ensure_supervisor(_home_of(store))
    return job_id


def stop(store: Store, job_id: int) -> None:
    """Ask a job to stop. One that waits has stopped at once; one that does not listen is ended by force."""
    store.command(job_id, "stop")
    ensure_supervisor(_home_of(store))


def warm(store: Store) -> bool:
    """Whether a standby has its imports behind it, so that a job would start at once."""
    standby = store.note("standby") or {}
    return bool(standby.get("ready")) and psutil.pid_exists(standby["pid"])


def _home_of(store: Store) -> Home:
    return Home(store.path.parent)

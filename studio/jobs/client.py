"""The interface for windows: start the supervisor if necessary, and queue, stop and resume jobs.

Each function first writes to the store and then calls `ensure_supervisor`, which wakes the supervisor. One that is
about to exit either sees the request or has released its lock (see `Supervisor.leave`).
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from studio import hardware
from studio.home import REPOSITORY, Home
from studio.jobs import processes, queue, waking
from studio.store import Store
from studio.words import StudioError

_started: list[subprocess.Popen] = []  # started by this process; ended ones stay zombies until polled


def ensure_supervisor(home: Home) -> bool:
    """Start a supervisor if none is running, else wake it; True if one was started. Safe to call from several windows
    at once. Takes microseconds if one is running.
    """
    started = _start_supervisor(home)
    if not started:
        waking.wake(home.root)
    return started


def _start_supervisor(home: Home) -> bool:
    """Start a supervisor if none is running; True if one was started. A dying one can hold its lock for some ms."""
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


def keep_supervisor(home: Home, each_second: Callable[[], None] = lambda: None) -> None:
    """Restart a killed supervisor within a second; it adopts the jobs that still run. Does not return.

    each_second: called as often. An error of the disk or the store, such as a database that another program has
    locked, is printed and not the end.
    """
    while True:
        time.sleep(1)
        try:
            _start_supervisor(home)
            each_second()
        except (OSError, sqlite3.OperationalError) as error:
            print(f"The supervisor cannot be started or told: {error}", file=sys.stderr, flush=True)


def note_view(store: Store) -> None:
    """Record that somebody looks at the page, for which the supervisor keeps a standby process warm."""
    store.set_note("viewed", time.time())


def start_run(home: Home, store: Store, name: str, recipe: dict, device: str) -> str:
    """Queue a new run; returns the run's id."""
    run_id, _ = store.create_run(name, recipe, device)
    ensure_supervisor(home)
    return run_id


def start_runs(home: Home, store: Store, runs: list[tuple[str, dict]], tag: str) -> list[str]:
    """Queue new runs of (name, recipe) under a common tag, all of them or none; returns their ids in order.

    Their devices are chosen as by `choose_device`. Raises `StudioError` for a device that this machine does not have.
    """
    busy = queue.busy_devices(store.jobs("queued", "running", kind="train"))
    placed = []
    for name, recipe in runs:
        device = hardware.choose_device((recipe.get("machine") or {}).get("device", "auto"), busy=busy)
        busy.add(device)
        placed.append((name, recipe, device))
    ids = store.create_runs(placed, [tag])
    ensure_supervisor(home)
    return ids


def resume_run(store: Store, run_id: str) -> int:
    """Queue another job that resumes the run from its last checkpoint; returns the job's id.

    Raises `StudioError` if the run does not exist, has not ended, is done, or if its checkpoints were discarded.
    """
    run = _run(store, run_id)
    if run["state"] == "done":
        raise StudioError("'{name}' is finished; train it longer, or start it again.", name=run["name"])
    if (run["result"] or {}).get("discarded"):
        raise StudioError(
            "The checkpoints of '{name}' were discarded, so it cannot be resumed. Start it again.", name=run["name"]
        )
    job_id = store.queue_again(run_id, {"resume": True})
    if job_id is None:
        raise StudioError(
            "'{name}' cannot be resumed while it is still waiting or running. Stop it first, or wait until it ends.",
            name=run["name"],
        )
    ensure_supervisor(_home_of(store))
    return job_id


def continue_run(store: Store, run_id: str, step: int, name: str, recipe: dict, lr_schedule: str | None = None) -> str:
    """Queue a new run that goes on from the checkpoint of `run_id` at `step`; returns its id.

    recipe: of the new run; it may be longer. lr_schedule: a key of `studio.training.continuation.SCHEDULES`; None: the
    recipe's schedule over all its steps.
    """
    run = _run(store, run_id)
    payload = {"from": {"run": run_id, "step": step}, "schedule": lr_schedule}
    new, _ = store.create_run(name, recipe, run["device"], payload)
    ensure_supervisor(_home_of(store))
    return new


def choose_device(store: Store, wanted: str) -> str:
    """The device for a new run: `wanted`, or for "auto" a GPU on which no other run is waiting or running, if any.

    Raises `StudioError` for a device that this machine does not have.
    """
    return hardware.choose_device(wanted, busy=queue.busy_devices(store.jobs("queued", "running", kind="train")))


def start_again(store: Store, run_id: str) -> str:
    """Queue a new run with the recipe and the name of `run_id`; returns its id."""
    run = _run(store, run_id)
    device = choose_device(store, (run["recipe"].get("machine") or {}).get("device", "auto"))
    new, _ = store.create_run(run["name"], run["recipe"], device)
    ensure_supervisor(_home_of(store))
    return new


def move(store: Store, job_id: int, where: str) -> None:
    """Move a waiting job in the queue: a value of `queue.MOVES`."""
    store.reorder(lambda waiting: queue.moved(waiting, job_id, where))


def remove(store: Store, job_id: int) -> None:
    """Take a waiting job out of the queue; a run that has not begun disappears. Raises `StudioError` if it has."""
    if not store.remove_queued(job_id):
        raise StudioError("This run is not waiting any more: it has begun, or it was removed already.")


def _run(store: Store, run_id: str) -> dict:
    run = store.run(run_id)
    if run is None:
        raise StudioError("There is no run '{run}' any more.", run=run_id)
    return run


def start_job(store: Store, kind: str, payload: dict, device: str = "cpu", run_id: str | None = None) -> int:
    """Queue a job of another kind ("chat", "inspect", "export"); returns the job's id."""
    job_id = store.queue_job(kind, payload, run_id=run_id, device=device)
    ensure_supervisor(_home_of(store))
    return job_id


def stop(store: Store, job_id: int) -> None:
    """Request a job to stop. A queued job stops at once; one that does not react is killed by the supervisor."""
    request(store, job_id, "stop")


def request(store: Store, job_id: int, verb: str) -> None:
    """Send a request to a job: a key of `store.STOPPING`, or "finish"."""
    store.command(job_id, verb)
    ensure_supervisor(_home_of(store))


def warm(store: Store) -> bool:
    """Whether a standby process has finished its imports, so that a job would start at once."""
    standby = store.note("standby") or {}
    return bool(standby.get("ready")) and psutil.pid_exists(standby["pid"])


def _home_of(store: Store) -> Home:
    return Home(store.path.parent)

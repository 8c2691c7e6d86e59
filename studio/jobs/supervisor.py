"""The supervisor of one home folder: `python -m studio.jobs.supervisor HOME`.

It starts workers for queued jobs, enforces stop requests, records how each worker ended, samples device memory, and
exits when it is no longer needed. All of its state is in the store, so it can be killed at any moment: the next
supervisor adopts the running workers and records the end of the others. Standard library and psutil only.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import shutil
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass

from studio.home import Home
from studio.jobs import failure_reasons, memory, processes, queue
from studio.jobs.backends import Backend, Exit, Handle, Local
from studio.jobs.timeouts import Timeouts
from studio.jobs.waking import Listener
from studio.store import ENDED, STOPPING, Store
from studio.words import Sentence

log = logging.getLogger("supervisor")

TICK = 0.2  # seconds between polls while something runs
DEAF_TICK = 0.05  # the same where no request wakes the supervisor; a click waits half of this on average
IDLE_TICK = 2.0  # while nothing runs and the standby process waits
STARTING = Sentence("Starting the worker")


@dataclass
class Watched:
    """A worker and its job.

    deadline: `time.monotonic()` at which the next signal is sent, which no change of the clock can shift; None if it
    need not stop. forced: the last signal that was sent.
    """

    job: dict
    handle: Handle
    deadline: float | None = None
    forced: signal.Signals | None = None


class Supervisor:
    """Starts, watches and stops the workers of one home folder."""

    def __init__(self, home: Home, store: Store, backend: Backend, lock: processes.Lock, times: Timeouts):
        self.home, self.store, self.backend, self.lock, self.times = home, store, backend, lock, times
        self.watched: dict[int, Watched] = {}
        self.leaving = threading.Event()
        self.listener = Listener(home.root)
        self._seen: int | None = None  # version of the store at the last tick; None: read the store again
        self._second_try: set[int] = set()
        self._windows = False
        self._needed_until = time.monotonic()
        self._next_census = 0.0
        self._told_standby: dict | None = None
        self._viewed: float | None = None  # the note of this name
        self._used = time.monotonic()  # when a job ran or somebody looked at the page

    def run(self) -> None:
        """Run until SIGTERM, or until the supervisor has not been needed for `times.idle` seconds."""
        while not self.leaving.is_set():
            try:
                self.tick()
                if time.monotonic() - self._needed_until > self.times.idle and self.leave():
                    return
            except sqlite3.OperationalError as error:  # the disk may be full or the database locked; try again
                log.warning("the store cannot be used: %s", error)
                self._seen = None
                self.leaving.wait(1)
            self.listener.wait(self.pause())

    def pause(self) -> float:
        """Seconds until the next tick, if no request and no end of a worker comes before."""
        if not self.listener.hears:
            return DEAF_TICK
        standby = self._told_standby or {}
        return TICK if self.watched or (standby.get("pid") and not standby["ready"]) else IDLE_TICK

    def tick(self) -> None:
        """Poll the workers, the store and the deadlines once."""
        for job_id, watched in list(self.watched.items()):
            left = watched.handle.poll()
            if left:
                self.record(watched, left)  # may raise; the exit is then recorded at the next tick
                del self.watched[job_id]
                self._seen = None
        version = self.store.version()  # read before the queries, so that later writes are seen at the next tick
        if version != self._seen:
            self._seen = version
            self.adopt()
            self.dispatch()
            self.apply_stop_requests()
        self.kill_overdue()
        if time.monotonic() >= self._next_census:
            self._next_census = time.monotonic() + 1
            self.count_windows()
        self.maintain_standby()

    # ---- starting ------------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Adopt running workers that were started elsewhere, by an earlier supervisor or in a terminal
        (`python -m studio.training`), and record the end of those that are dead.
        """
        for job in self.store.jobs("running"):
            if job["id"] in self.watched:
                continue
            handle = self.backend.adopt(job)
            if handle:
                log.info("job %d: adopted worker %d", job["id"], handle.pid)
                self.watched[job["id"]] = Watched(job, handle)
            else:
                self.record_outcome(job, Exit())

    def dispatch(self) -> None:
        """Start the jobs that can start. A worker claims its job itself, so a started job may still be 'queued'."""
        queued = [job for job in self.store.jobs("queued") if job["id"] not in self.watched]
        start, leave = queue.decide(queued, [watched.job for watched in self.watched.values()])
        for job in start:
            self.store.job_doing(job["id"], STARTING.to_json())  # before the worker writes its own
            try:
                handle = self.backend.start(job)
            except OSError as error:
                log.error("job %d: no worker could be started: %s", job["id"], error)
                self.store.job_ended(job["id"], "failed", failure_reasons.reason_not_started(error).to_json())
                continue
            log.info(
                "job %d (%s on %s): worker %d%s",
                job["id"],
                job["kind"],
                job["device"],
                handle.pid,
                " was warm" if handle.warm else "",
            )
            self.watched[job["id"]] = Watched(job, handle)
        for chat in leave:
            if not self.store.commands(chat["id"], "stop"):
                log.info("job %d: asked to leave %s, which a training run waits for", chat["id"], chat["device"])
                self.store.command(chat["id"], "stop")

    # ---- stopping ------------------------------------------------------------------------------------------

    def apply_stop_requests(self) -> None:
        """Set a deadline for each worker that was requested to stop or has recorded its outcome."""
        for job_id, watched in self.watched.items():
            if watched.deadline is not None:
                continue
            asked = self.store.stop_requests(job_id)
            row = self.store.job(job_id)
            if row is None:  # removed from the queue while its worker was starting, which will find nothing to claim
                continue
            if row["state"] in ENDED:
                watched.deadline = time.monotonic() + self.times.kill_grace
            elif asked:
                watched.deadline = time.monotonic() + self.times.grace(watched.job["kind"])

    def kill_overdue(self) -> None:
        """Send SIGTERM to workers past their deadline, and SIGKILL, also to their children, `kill_grace` later."""
        for job_id, watched in self.watched.items():
            if watched.deadline is None or time.monotonic() < watched.deadline or watched.forced == signal.SIGKILL:
                continue
            if watched.forced is None:
                watched.forced, watched.deadline = signal.SIGTERM, time.monotonic() + self.times.kill_grace
                watched.handle.terminate()
            else:
                watched.forced = signal.SIGKILL
                watched.handle.kill()
            log.warning("job %d: worker %d was sent %s", job_id, watched.handle.pid, watched.forced.name)

    # ---- ending --------------------------------------------------------------------------------------------

    def record(self, watched: Watched, left: Exit) -> None:
        """Handle the exit of a worker: record it, with the outcome of the job if the worker has recorded none."""
        job = self.store.job(watched.job["id"])
        if job is None:
            return
        log.info("job %d: worker %d left: code %s, signal %s", job["id"], watched.handle.pid, left.code, left.signal)
        unclaimed = job["state"] == "queued" and watched.handle.warm and job["id"] not in self._second_try
        claimed_by_another = job["state"] == "running" and job["pid"] != watched.handle.pid
        if unclaimed:  # the standby died before it claimed the job; start it once more in a new process
            self._second_try.add(job["id"])
        elif not claimed_by_another:  # two supervisors may start the same job; the next tick adopts its worker
            self.record_outcome(job, left, watched.forced)

    def record_outcome(self, job: dict, left: Exit, forced: signal.Signals | None = None) -> None:
        """Record exit code and signal; state and reason are set only if the worker has not recorded an outcome."""
        self.store.job_exit(job["id"], left.code, left.signal)
        requests = self.store.stop_requests(job["id"])
        discarded = bool(requests) and requests[-1]["verb"] == "discard"
        if forced and job["state"] == "running":
            self.store.job_ended(
                job["id"],
                STOPPING[requests[-1]["verb"]] if requests else "stopped",
                failure_reasons.reason_of_kill(
                    self.times.grace(job["kind"]), job["kind"], discarded=discarded
                ).to_json(),
                {"discarded": True} if discarded else None,
            )
        else:
            self.store.job_ended(
                job["id"], "failed", failure_reasons.reason_of_exit(left.code, left.signal, job["kind"]).to_json()
            )
        if discarded and job["kind"] == "train":  # the worker has done it, unless it was killed before
            shutil.rmtree(self.home.checkpoints(job["run_id"]), ignore_errors=True)

    # ---- idle exit -----------------------------------------------------------------------------------------

    def count_windows(self) -> None:
        """Check whether the home folder still exists and whether the supervisor is needed, and by whom."""
        if not self.lock.still_there():
            log.info("the home folder is gone")
            self.leaving.set()
            return
        viewed = self.store.note("viewed")
        if self.watched or viewed != self._viewed:
            self._viewed, self._used = viewed, time.monotonic()
        if self.is_needed():
            self._needed_until = time.monotonic()

    def is_needed(self) -> bool:
        """Whether there is an open window, a queued job, or a running job that must go on without a window."""
        windows = self.store.note("windows", [])
        self._windows = any(processes.find(window["pid"], window["created"]) for window in windows)
        return (
            self._windows
            or bool(self.store.jobs("queued"))
            or any(queue.is_needed_without_window(watched.job) for watched in self.watched.values())
        )

    def maintain_standby(self) -> None:
        """Keep a standby process while a window is open and in use, and publish its state in the note "standby".

        Unused for `times.standby_keep` seconds it ends, which gives its memory back; the next view of the page or the
        next job brings another one.
        """
        used = time.monotonic() - self._used < self.times.standby_keep
        if not used:
            self.backend.close()
        told = self.backend.maintain_standby(wanted=self._windows and used)
        if told != self._told_standby:
            self.store.set_note("standby", told)
            self._told_standby = told

    def leave(self) -> bool:
        """Prepare to exit; True if the supervisor can exit now. Chats without a window are stopped first.

        A window writes to the store before it tries the lock, and the supervisor releases the lock before it reads the
        store again. So either the supervisor sees the request or the window gets the lock.
        """
        if self.is_needed():
            self._needed_until = time.monotonic()
            return False
        chats = [job_id for job_id in self.watched if not self.store.commands(job_id, "stop")]
        for job_id in chats:
            log.info("job %d: asked to stop, because its window is gone", job_id)
            self.store.command(job_id, "stop")
        if self.watched:
            self._seen = None
            return False
        self.lock.drop()
        if self.is_needed():
            lock = processes.Lock.take(self.lock.path)
            if lock:
                self.lock = lock
                self.lock.sign()
                self._needed_until = time.monotonic()
                return False
        log.info("nobody needs a supervisor any more")
        return True


def sample_memory(home: Home, supervisor: Supervisor) -> None:
    """Write the note "memory" every second: {"time", "devices": {"cpu": {"used", "total"}, "cuda:0": …}}, in bytes.

    Only while something runs, because only workers read it. In a thread of its own, because nvidia-smi can be slow.
    """
    store, working = Store(home.database), False
    while not supervisor.leaving.wait(1):
        before, working = working, bool(supervisor.watched)
        if not working:
            continue
        try:
            if not before:
                memory.sample()  # utilisation is measured since the last call
                supervisor.leaving.wait(0.2)
            store.set_note("memory", {"time": time.time(), "devices": memory.sample()})
        except sqlite3.OperationalError as error:
            log.warning("memory could not be recorded: %s", error)


def open_log(home: Home) -> None:
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "supervisor.log", maxBytes=1_000_000, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the jobs of one Delta Studio home folder.")
    parser.add_argument("home")
    parser.add_argument("--lock", type=int, help="file descriptor of the lock that the window has taken for us")
    arguments = parser.parse_args()
    home = Home(arguments.home)
    lock = processes.Lock.take(processes.supervisor_lock(home.root), arguments.lock)
    if not lock:
        raise SystemExit(f"{home.root} has a supervisor already.")
    lock.sign()
    open_log(home)
    times = Timeouts.from_environment()
    backend = Local(home, times.standby_delay)
    supervisor = Supervisor(home, Store(home.database), backend, lock, times)
    signal.signal(signal.SIGTERM, lambda *_: supervisor.leaving.set())
    supervisor.listener.catch_signals()
    threading.Thread(target=sample_memory, args=(home, supervisor), daemon=True).start()
    log.info("supervisor of %s", home.root)
    try:
        supervisor.run()
    except BaseException:
        log.exception("the supervisor failed")
        raise
    finally:
        backend.close()
        log.info("left; workers that run: %s", sorted(supervisor.watched))


if __name__ == "__main__":
    main()

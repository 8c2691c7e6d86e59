"""Faults other than kills: a full disk, a database that another program locks, processes that are suspended.

One run meets all of them, each for a while; it goes on, or is resumed, and ends as the undisturbed one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from studio.jobs import client, processes
from tests.chaos.kills import Chaos

LOCKED, SUSPENDED, FULL = 10.0, 1.0, 3.0  # seconds for which a fault lasts
BLOCK = 1 << 16  # bytes


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A tmpfs on `folder`; False where this user may not mount one, then it is an ordinary folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "delta-studio-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def meet_all(chaos: Chaos, disk: Path | None) -> list[str]:
    """Let a run meet every fault; returns their names. disk: a file to fill the disk with; None: it stays as it is."""
    studio, store = chaos.studio, chaos.store
    run_id = studio.start_run("faults")
    studio.wait_for_step(run_id, 4)
    _suspend_worker(chaos, run_id)
    studio.wait_for_step(run_id, 6)
    _lock_database(chaos)
    studio.wait_for_step(run_id, 8)
    job_id = _suspend_supervisor_and_stop(chaos, run_id)
    assert studio.job_ended(job_id)["state"] == "stopped", store.job(job_id)
    met = ["a suspended worker", f"a database locked for {LOCKED:.0f} s", "a suspended supervisor"]
    if disk:
        assert chaos.go_on(run_id)
        studio.wait_for_step(run_id, 12)
        _fill(disk)
        text = chaos.check_reason(studio.job_ended(store.run(run_id)["job_id"]))
        assert text.startswith("The disk is full: "), text
        met.append("a full disk")
    while chaos.go_on(run_id):
        studio.job_ended(store.run(run_id)["job_id"])
    chaos.check_done(run_id)
    chaos.check_processes()
    return met


def _suspend_worker(chaos: Chaos, run_id: str) -> None:
    job = chaos.store.job(chaos.store.run(run_id)["job_id"])
    os.kill(job["pid"], signal.SIGSTOP)
    chaos.studio.wait(lambda: processes.is_suspended(job["pid"], job["pid_created"]), 5, "nobody sees it")
    time.sleep(SUSPENDED)
    os.kill(job["pid"], signal.SIGCONT)


def _lock_database(chaos: Chaos) -> None:
    with contextlib.closing(sqlite3.connect(chaos.studio.home.database, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED)
        other.execute("ROLLBACK")


def _suspend_supervisor_and_stop(chaos: Chaos, run_id: str) -> int:
    """A stop that is asked for meanwhile is obeyed; returns the id of the job."""
    pid, job_id = chaos.studio.supervisor(), chaos.store.run(run_id)["job_id"]
    os.kill(pid, signal.SIGSTOP)
    client.request(chaos.store, job_id, "stop")
    time.sleep(SUSPENDED)
    os.kill(pid, signal.SIGCONT)
    return job_id


def _fill(path: Path) -> None:
    """Neither the store nor a log can say anything meanwhile."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(BLOCK))
    time.sleep(FULL)
    path.unlink()

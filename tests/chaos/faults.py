"""Faults other than kills: a full disk, a database that another program locks, processes that are suspended.

Each is met by a run in its middle, and is over after a while; the run goes on or is resumed, and ends as the
undisturbed one. Where the run has failed, a sentence says of what.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.jobs import client, processes
from tests.chaos.kills import Chaos
from tests.chaos.studio import STEPS

MEGABYTE = 1 << 20


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A tmpfs on `folder`; False where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "delta-studio-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def in_the_middle(chaos: Chaos, fault: Callable[[str], None], expected: str = "") -> str:
    """Start a run, let it meet `fault`, and get it to its end. Returns what was said of its failure, if it failed.

    expected: words of that sentence; where they are given it must fail.
    """
    studio = chaos.studio
    run_id = studio.start_run(fault.__name__)
    studio.wait(lambda: (studio.store.run(run_id)["step"] or 0) >= STEPS // 3, 60, "the run does not get going")
    fault(run_id)
    row = studio.job_ended(studio.store.run(run_id)["job_id"])
    text = chaos.check_reason(row)
    assert expected in text, f"{fault.__name__}: {row['state']}: {text!r}"
    while chaos.go_on(run_id):
        studio.job_ended(studio.store.run(run_id)["job_id"])
    chaos.check_done(run_id)
    chaos.check_processes()
    return text


def locked_database(chaos: Chaos, seconds: float = 10.0) -> None:
    def lock(run_id: str) -> None:
        with contextlib.closing(sqlite3.connect(chaos.studio.home.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    assert not in_the_middle(chaos, lock), "it fails because of a lock of ten seconds"


def suspended_worker(chaos: Chaos, seconds: float = 2.0) -> None:
    def suspend(run_id: str) -> None:
        job = chaos.store.job(chaos.store.run(run_id)["job_id"])
        os.kill(job["pid"], signal.SIGSTOP)
        chaos.studio.wait(lambda: processes.is_suspended(job["pid"], job["pid_created"]), 5, "nobody sees it")
        time.sleep(seconds)
        os.kill(job["pid"], signal.SIGCONT)

    assert not in_the_middle(chaos, suspend)


def suspended_supervisor(chaos: Chaos, seconds: float = 2.0) -> None:
    """A stop that is asked for meanwhile is obeyed, and a run that is started meanwhile begins."""
    waiting: list[str] = []

    def suspend(run_id: str) -> None:
        pid = chaos.studio.supervisor()
        os.kill(pid, signal.SIGSTOP)
        waiting.append(chaos.studio.start_run("started meanwhile"))
        client.request(chaos.store, chaos.store.run(run_id)["job_id"], "stop")
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    in_the_middle(chaos, suspend)
    chaos.studio.job_ended(chaos.store.run(waiting[0])["job_id"])
    chaos.check_done(waiting[0])


def full_disk(root: Path, seconds: float = 4.0) -> bool:
    """Of a home of its own on a small disk. False where none can be mounted."""
    with small_disk(root, 64) as mounted:
        if not mounted:
            return False
        chaos = Chaos(root / "home", seed=0)
        filler = root / "filler"

        def fill(run_id: str) -> None:
            with open(filler, "wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(MEGABYTE // 16))
                    file.flush()
            time.sleep(seconds)  # neither the store nor a log can say anything meanwhile
            filler.unlink()

        try:
            chaos.prepare()
            in_the_middle(chaos, fill, expected="The disk is full")
        finally:
            chaos.studio.end()
    return True

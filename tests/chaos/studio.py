"""A studio whose processes are forks: to be killed, brought back, and looked at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from studio.home import REPOSITORY, Home
from studio.jobs import client
from studio.jobs.processes import find, is_living, supervisor_lock
from studio.recipe import Recipe
from studio.store import ENDED, Store
from tests.chaos import forks

STEPS, EVERY, SAVED = 24, 8, 4  # optimiser steps, steps between evaluations, steps between checkpoints
RECIPE = {
    "data": {"source": "captain", "max_rows": 16},
    "method": "lora",
    "machine": {"precision": "fp32"},
    "training": {
        "learning_rate": 1e-3,
        "max_steps": STEPS,
        "batch_size": 2,
        "max_length": 64,
        "evaluations": STEPS // EVERY,
        "evaluation_rows": 2,
        "answer_length": 2,
        "sample_prompts": 0,
        "save_steps": SAVED,
    },
}


class Studio:
    """Window, supervisor, standby and workers of one home."""

    def __init__(self, root: Path):
        self.home = Home(root)
        self.store = Store(self.home.database)
        self.window: forks.Popen | None = None

    def open_window(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.window", str(self.home.root)]
        with open(self.home.logs / "window.log", "ab") as log:
            self.window = forks.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)

    def start_run(self, name: str) -> str:
        recipe = Recipe.model_validate(RECIPE).to_dict()
        return client.start_run(self.home, self.store, name, recipe, "cpu")

    def worker(self, job: dict) -> int | None:
        """The pid of the job's worker, if it lives."""
        return job["pid"] if find(job["pid"], job["pid_created"]) else None

    def supervisor(self) -> int | None:
        """The pid of the supervisor, as it has signed its lock; None if it does not live."""
        with contextlib.suppress(OSError, ValueError):
            signed = json.loads(supervisor_lock(self.home.root).read_text())
            return signed["pid"] if find(signed["pid"], signed["created"]) else None
        return None

    def standby(self) -> int | None:
        pid = (self.store.note("standby") or {}).get("pid")
        return pid if pid and is_living(pid) else None

    def other_processes(self) -> set[int]:
        """The processes of any home that are neither window nor supervisor nor standby of this one."""
        known = {self.window and self.window.pid, self.supervisor(), self.standby()}
        return {child.pid for child in psutil.Process(forks.server_pid()).children() if is_living(child)} - known

    def wait(self, what, seconds: float, complaint: str):
        """The first true answer of `what`, asked every 5 ms."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.005)
        raise AssertionError(f"{complaint} (after {seconds:.0f} s)")

    def wait_for_step(self, run_id: str, step: int) -> None:
        """Wait until the running run has recorded this step or a later one."""

        def there() -> bool:
            run = self.store.run(run_id)
            assert run["state"] in ("queued", "running"), run
            return (run["step"] or 0) >= step

        self.wait(there, 120, f"step {step} is not reached")

    def job_ended(self, job_id: int, seconds: float = 120) -> dict:
        return self.wait(
            lambda: (row := self.store.job(job_id))["state"] in ENDED and row, seconds, f"job {job_id} does not end"
        )

    def end(self) -> None:
        """Leave no process behind."""
        for _ in range(3):
            running = self.store.jobs("running", "queued")
            for pid in (self.window and self.window.pid, self.supervisor(), self.standby(), *map(self.worker, running)):
                if pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        self.store.close()

"""A job as its function sees it: what was asked for, whether to stop, and how to say what is happening.

It knows nothing about what the job does, and nothing about the process that it runs in.
"""

from __future__ import annotations

import time
from pathlib import Path

from studio.home import Home
from studio.store import Store
from studio.words import Sentence

_LOOK_EVERY = 0.05  # seconds; a tight loop may ask `stop_requested` a million times a second


def log_path(home: Home, job_id: int) -> Path:
    """Where a job's standard output and error go."""
    return home.logs / f"job-{job_id}.log"


class Stopped(Exception):
    """Raised by a job's function that was asked to stop and has saved all that is worth keeping."""


class Job:
    """One job: `id`, `kind`, `run_id`, `payload`, `device` ("cpu", "cuda:1"), and its `store` and `home`.

    All methods may be called from any thread.
    """

    def __init__(self, row: dict, store: Store, home: Home):
        self.id: int = row["id"]
        self.kind: str = row["kind"]
        self.run_id: str | None = row["run_id"]
        self.payload: dict = row["payload"]
        self.device: str = row["device"]
        self.store = store
        self.home = home
        self._stop = False
        self._looked = 0.0

    @property
    def torch_device(self) -> str:
        """What torch calls the device here: a worker sees only its own GPU, which is its first."""
        return "cuda:0" if self.device.startswith("cuda") else self.device

    def stop_requested(self) -> bool:
        """Whether the job was asked to stop, in the store or by SIGTERM. Stays true; cheap at every step."""
        now = time.monotonic()
        if not self._stop and now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._stop = self._stop or bool(self.store.commands(self.id, "stop"))
        return self._stop

    def ask_to_stop(self) -> None:
        """Make `stop_requested` true from inside the process."""
        self._stop = True

    def check_stop(self) -> None:
        """Raise `Stopped` if the job was asked to stop: for a job that has nothing to save."""
        if self.stop_requested():
            raise Stopped

    def doing(self, sentence: Sentence) -> None:
        """Say what the job is doing now."""
        self.store.job_doing(self.id, sentence.to_json())

    def log(self, text: Sentence | str) -> None:
        """Add a line to the job's log in the store; a sentence can be read in each language."""
        data = text.to_json() if isinstance(text, Sentence) else {"text": text}
        self.store.add_event("log", data, run_id=self.run_id, job_id=self.id)

    def result(self, result: dict) -> None:
        """Offer a result already while the job runs, such as the chat server's port."""
        self.store.job_result(self.id, result)

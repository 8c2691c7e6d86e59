"""`Job`, the object passed to a job's function: its parameters, stop requests, and progress and log messages.

Independent of what the job does and of the process that it runs in.
"""

from __future__ import annotations

import time
from pathlib import Path

from studio.home import Home
from studio.store import STOPPING, Store
from studio.words import Sentence

_LOOK_EVERY = 0.05  # seconds between queries of the store, since a tight loop may call `stop_requested` very often


def log_path(home: Home, job_id: int) -> Path:
    """The file that receives a job's standard output and error."""
    return home.logs / f"job-{job_id}.log"


class Stopped(Exception):
    """Raised by a job's function after a stop request, once it has saved its state."""


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
        self._terminated = False
        self._request: str | None = None
        self._looked = 0.0

    @property
    def torch_device(self) -> str:
        """The torch device in this process: "cuda:0" for every GPU job, because a worker sees only its own GPU."""
        return "cuda:0" if self.device.startswith("cuda") else self.device

    def request(self) -> str | None:
        """The request to this job: the newest of `store.STOPPING`, else "finish", else None. SIGTERM counts as "stop".

        Cheap enough for every step.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._request = self.store.latest_request(self.id) or self._request
        if self._terminated and self._request not in STOPPING:
            return "stop"
        return self._request

    def stop_requested(self) -> bool:
        """Whether the job is to end as soon as its state is saved. Stays true."""
        return self.request() in STOPPING

    def finish_requested(self) -> bool:
        """Whether the training is to end now and its adapter to be made, as after the last step."""
        return self.request() == "finish"

    def ask_to_stop(self) -> None:
        """Request a stop from inside the process."""
        self._terminated = True

    def check_stop(self) -> None:
        """Raise `Stopped` if a stop was requested; for jobs that have nothing to save."""
        if self.stop_requested():
            raise Stopped

    def doing(self, sentence: Sentence) -> None:
        """Record what the job is doing now."""
        self.store.job_doing(self.id, sentence.to_json())

    def log(self, text: Sentence | str) -> None:
        """Add a line to the job's log in the store. A `Sentence` is translated when it is displayed."""
        data = text.to_json() if isinstance(text, Sentence) else {"text": text}
        self.store.add_event("log", data, run_id=self.run_id, job_id=self.id)

    def result(self, result: dict) -> None:
        """Store a result while the job is still running, such as the chat server's port."""
        self.store.job_result(self.id, result)

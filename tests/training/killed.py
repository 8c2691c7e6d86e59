"""A training run that is killed (kill -9) once a step of it is recorded."""

import os
import signal
from pathlib import Path

from studio.home import Home
from studio.store import Store
from studio.training.worker import train
from tests.training.runs import StoppingJob


class KilledJob(StoppingJob):
    """A job whose process is killed once step `after` is recorded."""

    def stop_requested(self) -> bool:
        if super().stop_requested():
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def train_until_killed(home: Path, job_id: int, after: int) -> None:
    """Train until step `after` is recorded; by then the process is gone."""
    made = Home(home)
    store = Store(made.database)
    job = KilledJob(store.job(job_id), store, made)
    job.after = after
    train(job)

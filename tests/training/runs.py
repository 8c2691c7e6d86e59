"""Short real training runs in this process, over a home of the test's own."""

import os
import signal
from pathlib import Path

from studio.home import Home
from studio.jobs.job import Job, Stopped
from studio.recipe import recipe_from
from studio.store import Store

SHORT = {"max_steps": 6, "batch_size": 4, "evaluations": 2, "evaluation_rows": 2, "answer_length": 8, "sample_prompts": 1, "checkpoint_steps": 2, "max_length": 64}


class StoppingJob(Job):
    """A job that is asked to stop once step `after` is recorded."""

    after: int | None = None

    def stop_requested(self) -> bool:
        return self.after is not None and (self.store.run(self.run_id)["step"] or 0) >= self.after


class KilledJob(StoppingJob):
    """A job whose process is gone (kill -9) once step `after` is recorded."""

    def stop_requested(self) -> bool:
        if super().stop_requested():
            os.kill(os.getpid(), signal.SIGKILL)
        return False


class Runs:
    """Makes runs and resumes them; `train` is imported late, so that collecting tests needs no torch."""

    def __init__(self, folder: Path):
        self.home = Home(folder)
        self.store = Store(self.home.database)

    def start(self, method: dict | str = "lora", *, stop_after: int | None = None, kill_after: int | None = None, task: dict | str = "chat", data: dict | None = None, machine: dict | None = None, model: dict | None = None, **training) -> str:
        """Run a short recipe to its end, or to a stop, or in a process of its own to a kill -9; returns the run's id."""
        recipe = recipe_from({
            "data": {"source": "captain", "max_rows": 24, **(data or {})}, "task": task if isinstance(task, dict) else {"name": task}, "method": method, "machine": machine or {}, "model": model or {},
            "training": {"learning_rate": 1e-3, **SHORT, **training},
        })
        run_id, job_id = self.store.create_run("test", recipe.to_dict(), "cpu")
        if kill_after:
            self._killed(job_id, kill_after)
        else:
            self._work(job_id, stop_after)
        return run_id

    def resume(self, run_id: str, stop_after: int | None = None) -> dict | None:
        return self._work(self.store.queue_again(run_id, {"resume": True}), stop_after)

    def _work(self, job_id: int, stop_after: int | None) -> dict | None:
        from studio.training.worker import train

        job = StoppingJob(self.store.job(job_id), self.store, self.home)
        job.after = stop_after
        try:
            result = train(job)
        except Stopped:
            self.store.job_ended(job_id, "stopped")
            return None
        self.store.job_ended(job_id, "done", result=result)
        return result

    def _killed(self, job_id: int, after: int) -> None:
        """Work on a job in a fork, which has torch loaded already, until it is killed; then say of it what the supervisor says."""
        from studio.training.worker import train

        child = os.fork()
        if not child:
            try:
                store = Store(self.home.database)
                job = KilledJob(store.job(job_id), store, self.home)
                job.after = after
                train(job)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "it came to an end before it could be killed"
        self.store.job_ended(job_id, "failed")

    def losses(self, run_id: str, key: str = "loss") -> dict[int, float]:
        """Step → loss; each step must stand once."""
        rows = [(row["step"], row["values"][key]) for row in self.store.metrics(run_id) if key in row["values"]]
        assert len(rows) == len(dict(rows)), "a step stands twice"
        return dict(rows)

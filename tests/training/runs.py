"""Short real training runs in this process, over a home of the test's own."""

import atexit
import json
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path

from studio.home import SAMPLES, Home
from studio.jobs.job import Job, Stopped
from studio.recipe import recipe_from
from studio.store import Store
from tests.conftest import REPOSITORY
from tests.fresh import workers

SHORT = {
    "max_steps": 6,
    "batch_size": 4,
    "evaluations": 2,
    "evaluation_rows": 2,
    "answer_length": 8,
    "sample_prompts": 1,
    "save_steps": 2,
    "max_length": 64,
}
# For runs of which only the curve is looked at.
QUIET = {"evaluations": 0, "evaluation_rows": 0, "sample_prompts": 0}
KILLED = """
import sys
from tests.training.killed import train_until_killed
train_until_killed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


@cache
def few(sample: str, rows: int = 24, validation: int = 8) -> dict:
    """The data of a recipe: the first rows (of a text: lines) of a sample, and `validation` rows to measure on: all of
    them cost more than the steps of a short run."""
    folder = Path(tempfile.mkdtemp(prefix="few-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = []
    for name, count in ((sample, rows), (f"{sample}.validation", validation)):
        ends = (".jsonl", ".json", ".csv", ".txt")
        path = next(SAMPLES / f"{name}{end}" for end in ends if (SAMPLES / f"{name}{end}").exists())
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            text = json.dumps(json.loads(text)[:count])
        else:
            text = "\n".join(text.splitlines()[: count + (path.suffix == ".csv")]) + "\n"
        made.append(folder / path.name)
        made[-1].write_text(text, encoding="utf-8")
    return {"source": str(made[0]), "validation": str(made[1]), "max_rows": None}


class StoppingJob(Job):
    """A job that is asked to stop once step `after` is recorded."""

    after: int | None = None

    def stop_requested(self) -> bool:
        return self.after is not None and (self.store.run(self.run_id)["step"] or 0) >= self.after


class Runs:
    """Makes runs and resumes them; `train` is imported late, so that collecting tests needs no torch."""

    def __init__(self, folder: Path):
        self.home = Home(folder)
        self.store = Store(self.home.database)

    def start(
        self, method: dict | str = "lora", *, stop_after: int | None = None, kill_after: int | None = None, **recipe
    ) -> str:
        """Run a short recipe to its end, or to a stop; returns the run's id. kill_after: begin it in another process,
        for whose kill -9 `killed` waits. recipe: as for `create`. In a home where no supervisor takes jobs."""
        run_id, job_id = self.create(method, **recipe)
        if kill_after:
            workers().begin(KILLED, str(self.home.root), str(job_id), str(kill_after), cwd=REPOSITORY)
        else:
            self._work(job_id, stop_after)
        return run_id

    def create(
        self,
        method: dict | str = "lora",
        *,
        task: dict | str = "chat",
        data: dict | None = None,
        machine: dict | None = None,
        model: dict | None = None,
        continues: dict | None = None,
        **training,
    ) -> tuple[str, int]:
        """Queue a short recipe; returns the ids of its run and its job. continues: the checkpoint of another run,
        {"run", "step"}."""
        recipe = recipe_from(
            {
                "data": few("captain") if data is None else {"source": "captain", "max_rows": 24, **data},
                "task": task if isinstance(task, dict) else {"name": task},
                "method": method,
                "machine": machine or {},
                "model": model or {},
                "training": {"learning_rate": 1e-3, **SHORT, **training},
            }
        )
        return self.store.create_run("test", recipe.to_dict(), "cpu", {"from": continues} if continues else None)

    def killed(self, run_id: str) -> None:
        """Wait until the run that was begun last is killed; then say of it what the supervisor says."""
        done = workers().end()
        assert done.returncode == -signal.SIGKILL, f"it ended before it could be killed: {done.stderr[-3000:]}"
        self.store.job_ended(self.store.run(run_id)["job_id"], "failed")

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

    def losses(self, run_id: str, key: str = "loss") -> dict[int, float]:
        """Step → loss; each step must stand once."""
        rows = [(row["step"], row["values"][key]) for row in self.store.metrics(run_id) if key in row["values"]]
        assert len(rows) == len(dict(rows)), "a step stands twice"
        return dict(rows)

"""A run that continues another one from a checkpoint: which checkpoint, how much longer, with which learning rates.

The new run copies the checkpoint and the metrics up to it, so its curves begin where those of the other run do, and
the other run is left as it is. Imports no torch.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

from studio.forecast.speed import total_steps
from studio.jobs.job import Job
from studio.recipe import Recipe
from studio.training import checkpoints
from studio.words import Sentence, StudioError

SCHEDULES = {
    "rewarm": Sentence("Warm up again, then decay"),
    "constant": Sentence("Constant at the learning rate of the recipe"),
    "last": Sentence("Constant at the last learning rate"),
}
"""How the learning rate goes on after the checkpoint: key → title."""
_FILE = "continued.json"


@dataclass(frozen=True)
class Continuation:
    """The checkpoint from which a run goes on: at `step` of the run `run`, named `name`, planned for `steps` steps.

    lr_schedule: a key of `SCHEDULES`; None: the recipe's schedule over all steps, as if the run had never been
    interrupted.
    """

    run: str
    name: str
    step: int
    steps: int | None
    lr_schedule: str | None

    def facts(self) -> dict:
        """For the adapter's card."""
        return {"run": self.run, "name": self.name, "step": self.step, "schedule": self.lr_schedule}


def begin(job: Job) -> Continuation | None:
    """Copy the checkpoint and metrics that the job's run continues, once; None for a run that begins at step 0.

    payload: {"from": {"run", "step"}, "schedule"}. Raises StudioError if the checkpoint is not kept any more.
    """
    source = job.payload.get("from")
    if not source:
        return None
    folder = job.home.run(job.run_id)
    path = folder / _FILE
    if not path.exists():  # it is written last
        job.doing(Sentence("Copying the checkpoint"))
        other = job.store.run(source["run"])
        found = checkpoints.find(job.home.checkpoints(source["run"]), source["step"])
        for cached in job.home.run(source["run"]).glob("*.json"):  # what the method computed at the start of the run
            if cached.name != _FILE:
                shutil.copyfile(cached, folder / cached.name)
        checkpoints.copy(found, job.home.checkpoints(job.run_id))
        job.store.copy_metrics(source["run"], job.run_id, found.step)
        facts = {"name": other["name"] if other else source["run"], "steps": found.steps}
        half = path.with_suffix(".half")
        half.write_text(json.dumps(facts), encoding="utf-8")
        half.replace(path)
        job.log(Sentence("Continuing '{name}' from step {step}.", name=facts["name"], step=found.step))
    facts = json.loads(path.read_text(encoding="utf-8"))
    return Continuation(source["run"], facts["name"], source["step"], facts["steps"], job.payload.get("schedule"))


def longer(recipe: Recipe, amount: float, *, done: int, examples: int) -> Recipe:
    """The recipe with `amount` more epochs or, where it counts steps, `amount` more steps.

    done: the step of the checkpoint. examples: number of training examples. Raises StudioError for a run that would
    not be longer.
    """
    values = recipe.to_dict()
    if recipe.training.max_steps:
        values["training"]["max_steps"] = done + round(amount)
    else:
        values["training"]["epochs"] = round(_epochs(recipe, done, examples) + amount, 6)
    made = Recipe.model_validate(values)
    if total_steps(made, examples) <= done:
        raise StudioError("{amount} more is less than one step; train longer than that.", amount=f"{amount:g}")
    return made


def _epochs(recipe: Recipe, done: int, examples: int) -> float:
    """The epochs that a run of `done` steps has seen: those of the recipe if it was not ended early."""
    planned = total_steps(recipe, examples)
    return recipe.training.epochs if done >= planned else recipe.training.epochs * done / planned

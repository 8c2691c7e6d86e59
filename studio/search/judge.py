"""The `judge` job: evaluate the adapter of a try on the rows that no try has seen.

It reads the adapter from the library as Chat does, so what is judged is what is used. Nothing of the run is changed.
"""

from __future__ import annotations

from pathlib import Path

from studio.home import Home
from studio.jobs.job import Job
from studio.library import adapter_store
from studio.models.load import compute_dtype
from studio.models.resolve import resolve_folder
from studio.models.rope_scaling import apply_adapter
from studio.recipe import Recipe, recipe_from
from studio.search.plan import folder, read
from studio.search.rows import data_of
from studio.training.kinds import kind_of
from studio.training.trainer import arguments
from studio.words import Sentence, StudioError


class _Apart(Home):
    """The home, in which a run's folder is one beside it: an evaluation writes its answers there."""

    def __init__(self, root: Path, place: Path):
        super().__init__(root)
        self.place = place

    def run(self, run_id: str) -> Path:
        return self.place


class _Judging(Job):
    """The job, without its remarks on the data in the log of the run, which has them already."""

    def log(self, text: Sentence | str) -> None:
        pass


def judge(job: Job) -> dict:
    """Run the `judge` job. payload: {"search": id}; its run is that of a try that is done.

    Returns {"metrics": as of a run}. Raises StudioError where the adapter is not in the library any more.
    """
    plan = read(job.home, job.payload["search"])
    run = job.store.run(job.run_id)
    adapter = ((run or {}).get("result") or {}).get("adapter")
    if not adapter:
        raise StudioError("There is no run '{run}' any more.", run=job.run_id)
    saved = adapter_store.find(job.home, job.store, adapter)[0]
    place = folder(job.home, plan.id)
    recipe = recipe_from(run["recipe"])
    rows = place / "rows"
    training = recipe.training.model_copy(update={"evaluation_rows": plan.draft.training.evaluation_rows})
    recipe = recipe.model_copy(update={"data": data_of(rows, plan.draft, "reporting"), "training": training})
    apart = _Judging(job.store.job(job.id), job.store, _Apart(job.home.root, place / "judged" / job.run_id))
    return {"metrics": evaluated(apart, recipe, saved)}


def evaluated(job: Job, recipe: Recipe, saved: Path) -> dict:
    """The metrics of the adapter, or the model, in the folder `saved` on the validation rows of `recipe`."""
    base = resolve_folder(recipe.model.name, recipe.model.revision)
    kind = kind_of(job, recipe, base)
    material = kind.prepare()
    job.doing(Sentence("Judging on untouched rows"))
    whole = recipe.method.artefact_type == "model"
    model = kind.load(saved if whole else base)
    if not whole:
        model = apply_adapter(model, saved)
    options = arguments(
        recipe,
        job.home.run(job.run_id) / "checkpoints",
        total_steps=1,
        validation=True,
        device=job.torch_device,
        dtype=compute_dtype(recipe.machine.precision, job.torch_device),
    )
    trainer = kind.trainer(model, options, material, [])
    return kind.outcome(trainer, material, lambda: kind.load(base, "fp32" if whole else None))

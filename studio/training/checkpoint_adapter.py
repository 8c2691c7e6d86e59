"""The `checkpoint` job: make an adapter of the library from a checkpoint of a run, also while that run goes on."""

from __future__ import annotations

import shutil
import time

from studio.jobs.job import Job
from studio.models.resolve import resolve_folder
from studio.recipe import recipe_from
from studio.training import artefact, checkpoints
from studio.training.kinds import kind_of
from studio.training.trainer import load_delta
from studio.training.worker import prepared, wrapped_model
from studio.words import StudioError


def make(job: Job) -> dict:
    """Run the `checkpoint` job. payload: {"step", "name"}. Returns {"adapter": id}.

    The card holds the validation loss that was recorded at that step; the answers are not evaluated again. Raises
    StudioError where the checkpoint is not kept any more, and Stopped where a stop was requested.
    """
    began = time.monotonic()
    step = int(job.payload["step"])
    run = job.store.run(job.run_id)
    if run is None:
        raise StudioError("There is no run '{run}' any more.", run=job.run_id)
    recipe = recipe_from(run["recipe"])
    found = checkpoints.find(job.home.checkpoints(job.run_id), step)
    work = job.home.run(job.run_id) / f"adapter-of-step-{step}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        checkpoints.copy(
            found, work, without=("optimizer*", "scheduler*", "rng_state*", "last_good*")
        )  # the run may delete its own one meanwhile
        kind = kind_of(job, recipe, resolve_folder(recipe.model.name, recipe.model.revision))
        material = prepared(job, kind)
        model, _ = wrapped_model(job, kind, material)
        load_delta(model, recipe.method, checkpoints.checkpoint_folder(work, step))
        parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        artefact.finish_method(recipe.method, model, kind.base)
        job.check_stop()
        expected = artefact.save_with_logits(job, kind, model, material, work / "artefact")
        del model
        artefact.check_reloaded(job, kind, material, work / "artefact", expected)
        made = artefact.add_to_library(
            job,
            kind,
            material,
            work / "artefact",
            name=job.payload["name"],
            adapter_id=checkpoints.adapter_id(job.run_id, step),
            metrics={} if found.eval_loss is None else {"eval_loss": found.eval_loss},
            parameters=parameters,
            seconds=time.monotonic() - began,
            facts={"checkpoint": {"run": job.run_id, "step": step}},
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"adapter": made}

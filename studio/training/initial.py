"""Start a run from the weights of an adapter of the library: continue its training.

Once the method has wrapped the base model, its tensors get the adapter's values; what cannot be loaded exactly is
refused. The optimiser starts anew. Independent of how the run goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from studio.jobs.job import Job
from studio.library import adapter_store, continuing, lineage
from studio.recipe import Recipe
from studio.training.strategy import ranks
from studio.words import StudioError

WEIGHTS = "adapter_model.safetensors"
_PARENT = "parent.json"
_NAME = "initial"  # folder in the run's folder, kept as long as the run: its checkpoints need it


def keep_initial_adapter(job: Job, recipe: Recipe) -> None:
    """Copy the weights of the adapter that `recipe` names, if any, to the run's folder; does nothing if they are there.

    So a resumed run starts from the same weights, whatever has become of the adapter meanwhile. Raises StudioError
    where the adapter is not in the library or does not fit the recipe.
    """
    kept = _folder(job)
    if not recipe.model.adapter or kept.exists():
        return
    if refusal := continuing.mismatch(job.store, recipe):
        raise StudioError(refusal)
    source, _, name = adapter_store.find(job.home, job.store, recipe.model.adapter)
    half = kept.with_name(f"{_NAME}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    shutil.copyfile(source / WEIGHTS, half / WEIGHTS)
    (half / _PARENT).write_text(json.dumps(lineage.parent(recipe.model.adapter, name, "continued")), encoding="utf-8")
    os.replace(half, kept)


def load_initial_adapter(job: Job, model: torch.nn.Module) -> None:
    """Load the weights kept for this run, if any, into `model`."""
    if _folder(job).exists():
        load_adapter_weights(model, _folder(job), parents_of_run(job)[0]["name"])


def load_adapter_weights(model: torch.nn.Module, folder: Path, name: str) -> None:
    """Load the weights in `folder` into `model`, which the adapter's method has wrapped with the adapter's options.

    name: the adapter's, for the error. Raises StudioError where the saved tensors are not exactly those of the model.
    """
    from peft import set_peft_model_state_dict
    from peft.utils import get_peft_model_state_dict

    saved = load_file(folder / WEIGHTS)
    ranks.match(model, {key: tensor.shape for key, tensor in saved.items()})  # it may have changed them
    own = {key: tensor.shape for key, tensor in get_peft_model_state_dict(model).items()}
    wrong = own.keys() ^ saved.keys() or {key for key, tensor in saved.items() if own[key] != tensor.shape}
    if not wrong:
        set_peft_model_state_dict(model, saved)
        now = get_peft_model_state_dict(model)
        wrong = {key for key, tensor in saved.items() if not torch.equal(now[key].cpu().float(), tensor.float())}
    if wrong:
        raise StudioError(
            "The weights of '{name}' do not fit this run ({tensor}): give it the options and the labels that it was "
            "trained with, or start anew.",
            name=name,
            tensor=min(wrong),
        )


def parents_of_run(job: Job) -> list[dict]:
    """The adapter that the run continues from, as `parents` of the new adapter's card; empty if there is none."""
    path = _folder(job) / _PARENT
    return [json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def copy_initial_adapter(job: Job, source_run: str) -> None:
    """Keep the weights from which the run `source_run` started, if any, for this run too, which continues it.

    A checkpoint holds the trainable parameters only; what the method keeps frozen comes from these weights.
    """
    source = job.home.run(source_run) / _NAME
    if not source.exists() or _folder(job).exists():
        return
    half = _folder(job).with_name(f"{_NAME}.half")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    os.replace(half, _folder(job))


def _folder(job: Job) -> Path:
    return job.home.run(job.run_id) / _NAME

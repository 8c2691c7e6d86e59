"""The parts of training that depend on the kind of task, one module per kind.

`Task.kind` names a module in this folder, which contains one subclass of `Kind`. Several tasks can share a kind: chat
and text are both "generation". The stages of a run (`worker.py`), its recording (`events.py`), its checkpoints
(`trainer.py`) and the library use only the interface `base.Kind`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from studio.jobs.job import Job
from studio.recipe import Recipe
from studio.training.kinds.base import Kind, TrainingData


def kind_of(job: Job, recipe: Recipe, base: Path) -> Kind:
    """Create the `Kind` of the recipe's task for one run. base: the base model's folder."""
    module = importlib.import_module(f"{__name__}.{recipe.task.kind}")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Kind) and item.__module__ == module.__name__
    ]
    return found[0](job, recipe, base)


__all__ = ["Kind", "TrainingData", "kind_of"]

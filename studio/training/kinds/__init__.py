"""How each kind of task is fine-tuned: one module a kind, which says what `worker.py` cannot know.

A task names its kind (`Task.kind`), the kind is a module of that name in this folder with one subclass of `Kind`. Several tasks may
share one: chat and text are both "generation". The story of a run (`worker.py`), its recording (`events.py`), checkpoints
(`trainer.py`) and the shelf know only what `base.Kind` promises.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from studio.jobs.job import Job
from studio.recipe import Recipe
from studio.training.kinds.base import Kind, TrainingData


def kind_of(job: Job, recipe: Recipe, base: Path) -> Kind:
    """The kind of the recipe's task, made for this one run over the base model in the folder `base`."""
    module = importlib.import_module(f"{__name__}.{recipe.task.kind}")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Kind) and item.__module__ == module.__name__
    ]
    return found[0](job, recipe, base)


__all__ = ["Kind", "TrainingData", "kind_of"]

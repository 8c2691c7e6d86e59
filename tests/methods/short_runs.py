"""One lesson for each method: a whole run and an interrupted one, on the real worker, from which most of the suite
reads its answers.

What a method needs to learn in 12 steps on a model of 4 M parameters stands here, in one table; it is no advice for
real runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch
from transformers import TrainerCallback

from studio.library import adapter_store
from studio.methods import METHODS
from tests.methods.method_cases import TrainedAdapters, labelled, logits, made, moved, snapshot
from tests.training.runs import few

STEPS = 12
KILLED, STOPPED = 6, 8  # steps; there is a checkpoint every 4, so the killed run has two steps to do again
RECIPE = {
    "max_steps": STEPS,
    "batch_size": 8,
    "evaluations": 2,
    "save_steps": 4,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0,
    "max_length": 48,
    "evaluation_rows": 0,
    "sample_prompts": 0,
}
# Learning rate where ten times the method's own is not right for so small a model and so few steps.
LEARNING_RATE: dict[str, float] = {
    "full": 1e-3,
    "loha": 1e-2,
    "diff_pruning": 2e-2,
    "group_mask": 2e-3,
    "hybrid": 1e-2,
    "mam": 1e-2,
    "unipelt": 1e-2,
    "s4": 1e-2,
    "corda": 5e-4,
    "lora_ga": 5e-4,
}
# By how many nats a token the validation loss must fall below the base model's.
MARGIN = 2.0
MARGINS = {
    "full": 7.0,
    "lora": 5.0,
    "qlora": 5.0,
    "dora": 5.0,
    "lora_plus": 6.0,
    "lora_fa": 4.0,
    "adapter": 5.0,
    "prompt_tuning": 4.0,
    "prompt_ensemble": 4.0,
    "vera": 4.0,
}
# Parameters that move though no gradient moves them: a part of their names → why.
ALSO_MOVE: dict[str, tuple[str, str]] = {}
# Parameters that may stay as they are: a part of their names → why.
MAY_REST: dict[str, tuple[str, str]] = {
    "adalora": ("lora_E", "a layer that has lost all its ranks has none left to move"),
    "diff_pruning": ("diff_gate", "the choice is settled by then, and only what was chosen learns on"),
}


@dataclass
class ShortRuns:
    """What was seen in the two runs of a method."""

    state: str = ""
    card: dict = field(default_factory=dict)
    folder: Path | None = None  # the artefact
    logits: torch.Tensor | None = None  # of `IDS`, before the artefact was written
    labelled: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)  # since the start
    moved_late: set[str] = field(default_factory=set)  # since the evaluation in between
    losses: dict[int, float] = field(default_factory=dict)
    interrupted: dict[int, float] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)  # the run's state after the kill, after the stop, and at the end


def short_runs(name: str, adapters: TrainedAdapters, interrupted: bool) -> ShortRuns:
    """Teach with the method once whole and, with `interrupted`, once with a kill -9 and a stop."""
    seen, runs = ShortRuns(), adapters.runs
    method = {**json.loads(made(name, adapters)[0].model_dump_json())}
    rate = LEARNING_RATE.get(name, 10 * METHODS[name].learning_rate)
    options = {**RECIPE, "learning_rate": rate, "data": few("captain", 96, 16)}
    other = runs.start(method, kill_after=KILLED, **options) if interrupted else None  # on the other core meanwhile
    try:
        with watching(seen):
            run = runs.start(method, **options)
    finally:
        if other:
            runs.killed(other)
    row = runs.store.run(run)
    seen.state, seen.losses = row["state"], runs.losses(run)
    if seen.state == "done":
        seen.card = runs.store.adapter(run)["card"]
        seen.folder = adapter_store.find(runs.home, runs.store, run)[0]
    if other is None:
        return seen
    seen.stops.append(runs.store.run(other)["state"])
    runs.resume(other, stop_after=STOPPED)
    seen.stops.append(runs.store.run(other)["state"])
    runs.resume(other)
    seen.stops.append(runs.store.run(other)["state"])
    seen.interrupted = runs.losses(other)
    return seen


class watching:
    """While it is entered, the worker's run leaves in `seen` what it trained, what moved, and its last logits."""

    def __init__(self, seen: ShortRuns):
        self.seen = seen

    def __enter__(self):
        from studio.training import artefact, worker

        build, finish_method, save = worker.build, artefact.finish_method, artefact.save

        def building(*args):
            trainer = build(*args)
            self.start, self.seen.labelled = snapshot(trainer.model), set(labelled(trainer.model))
            trainer.add_callback(AtEvaluation(self))
            return trainer

        def settling(method, model, base):
            self.seen.moved, self.seen.moved_late = moved(model, self.start), moved(model, self.between)
            finish_method(method, model, base)

        def saving(method, model, *rest):
            self.seen.logits = logits(model).cpu()
            save(method, model, *rest)

        self.patches = [
            patch.object(worker, "build", building),
            patch.object(artefact, "finish_method", settling),
            patch.object(artefact, "save", saving),
        ]
        for each in self.patches:
            each.start()

    def __exit__(self, *_):
        for each in self.patches:
            each.stop()


class AtEvaluation(TrainerCallback):
    """Remembers the parameters as they were at the first evaluation."""

    def __init__(self, watched: watching):
        self.watched = watched

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        if state.global_step < STEPS:
            self.watched.between = snapshot(model)

"""Estimate of a run's steps, time, memory and disk space before it starts; and the run as one sentence.

Combines the memory estimate of `memory` and the time estimate of `speed`. Does not import torch or read the data: the
caller passes the examples' lengths in tokens; without them an average length is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from studio.data.resolve import resolve
from studio.forecast import memory, speed
from studio.hardware import Hardware, choose_device, gigabytes
from studio.models.shape import Shape
from studio.recipe import Recipe
from studio.store import Store
from studio.tasks import TASKS
from studio.words import Sentence, StudioError

_ASSUMED = 128  # tokens per example where lengths are unknown, limited by "Max sequence length"
PARTS = {
    "weights": "Weights",
    "gradients": "Gradients",
    "optimiser": "Optimiser",
    "activations": "Activations",
    "logits": "Logits",
    "process": "Process",
}


@dataclass(frozen=True)
class Question:
    """The inputs of a forecast, so that it can be repeated with a changed recipe."""

    recipe: Recipe
    shape: Shape
    lengths: list[int] | None
    rows: int


@dataclass(frozen=True)
class Forecast:
    """The estimate for one run.

    parts: memory in bytes by part (titles in `PARTS`). sure: the lengths are known and the throughput was measured in
    an earlier run, so that the time does not rest on assumptions.
    """

    device: str
    steps: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    parts: dict[str, int]
    trained_parameters: int
    sure: bool
    question: Question = field(repr=False, compare=False)


def forecast(
    recipe: Recipe, shape: Shape, lengths: list[int] | None, rows: int, hardware: Hardware, store: Store | None = None
) -> Forecast:
    """Estimate the run of `recipe` on a model of `shape`.

    lengths: in tokens, before truncation, of all examples or a representative sample; None where they are unknown (not
    needed for images, whose number of patches the model determines). rows: number of training examples. store: holds
    the throughputs of earlier runs. Raises `StudioError` for a device that is not available.
    """
    device = choose_device(recipe.machine.device, hardware)
    precision = memory.precision_of(recipe, hardware.bf16_on(device), device)
    most = min(recipe.training.max_length, shape.context or recipe.training.max_length)
    known = [min(length, most) for length in lengths or () if length > 0]
    if recipe.task.modality == "image":
        known = [shape.context]  # every image has the same number of patches
    used = known or [min(_ASSUMED, most)]
    examples = max(rows, 1)
    steps = speed.total_steps(recipe, examples)
    parts = memory.memory_parts(recipe, shape, max(used), device=device, precision=precision)
    measured_throughput = speed.measured_throughput(store, device, recipe)
    # A separate validation file is not read here: 10 % is assumed.
    share = 0.1 if recipe.data.validation else recipe.data.validation_fraction
    seconds = speed.seconds(
        recipe,
        shape,
        used,
        steps=steps,
        validation=examples * share / (1 - share),
        hardware=hardware,
        device=device,
        precision=precision,
        speed=measured_throughput,
    )
    return Forecast(
        device,
        steps,
        seconds,
        sum(parts.values()),
        memory.disk_bytes(recipe, shape),
        parts,
        recipe.method.parameter_count(shape),
        sure=bool(known and measured_throughput),
        question=Question(recipe, shape, lengths, rows),
    )


def sentence(
    recipe: Recipe,
    rows: int | None,
    forecast: Forecast | None,
    hardware: Hardware,
    data: str | None = None,
    wrong: Collection[str] = (),
) -> Sentence:
    """The run as one sentence in Markdown, with "…" for what is not known yet.

    data: the dataset's title; by default the recipe's source, shortened. wrong: parts of the recipe that are invalid;
    they are shown as "…".
    """
    device = forecast.device if forecast else _device(recipe, hardware)
    named = data or source_title(recipe)
    values = {
        "model": short_model(recipe.model.name),
        "task": Sentence(TASKS[recipe.task.name].verb),
        "data": named or Sentence("…"),
        "method": _method(recipe),
        "length": _length(recipe),
        "device": hardware.short(device),
        "cost": _cost(forecast),
    }
    values |= {_SAID_OF.get(part, part): Sentence("…") for part in wrong}
    if rows is None or not named:
        return Sentence(_WITHOUT_ROWS, **values)
    return Sentence(_WHOLE, rows=f"{rows:,}", **values)


_SAID_OF = {"training": "length", "machine": "device"}  # part of a recipe → placeholder, where they differ
_WHOLE = (
    "Teach **{model}** to **{task}** from **{data}** ({rows} {rows:example|examples}) with **{method}** "
    "for **{length}** on **{device}**: {cost}"
)
_WITHOUT_ROWS = (
    "Teach **{model}** to **{task}** from **{data}** with **{method}** for **{length}** on **{device}**: {cost}"
)


def _cost(forecast: Forecast | None) -> Sentence:
    if forecast is None:
        return Sentence("…")
    return Sentence(
        "about {time}, {memory} GB.", time=duration(forecast.seconds), memory=gigabytes(forecast.memory_bytes)
    )


def _device(recipe: Recipe, hardware: Hardware) -> str:
    wanted = recipe.machine.device
    return choose_device("auto", hardware) if wanted == "auto" else wanted


def _method(recipe: Recipe) -> Sentence:
    """The method's summary, such as "Prompt tuning p=20", with the title as a translatable part."""
    title, summary = recipe.method.title, recipe.method.summary()
    return (
        Sentence("{title}{rest}", title=Sentence(title), rest=summary.removeprefix(title))
        if summary.startswith(title)
        else Sentence(summary)
    )


def _length(recipe: Recipe) -> Sentence:
    training = recipe.training
    if training.max_steps:
        return Sentence("{count} {count:step|steps}", count=training.max_steps)
    return Sentence("{count} {count:epoch|epochs}", count=f"{training.epochs:g}")


def short_model(name: str) -> str:
    """The last component of a hub id or folder path."""
    return name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or name


def source_title(recipe: Recipe) -> str:
    """A short title of the recipe's data source, such as "captain.jsonl"; "" if none is chosen."""
    try:
        return resolve(recipe.data.source).title
    except StudioError:
        return short_model(recipe.data.source)


def duration(seconds: float) -> Sentence:
    """Format a duration, rounded: "8 s", "40 s", "3 min", "2 h 10 min", "4 days"."""
    if seconds < 90:
        whole = max(1, round(seconds)) if seconds < 20 else 5 * round(seconds / 5)
        return Sentence("{count} s", count=whole)
    minutes = math.ceil(seconds / 60)
    if minutes < 90:
        return Sentence("{count} min", count=minutes)
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return (
            Sentence("{hours} h {minutes} min", hours=hours, minutes=rest)
            if rest and hours < 10
            else Sentence("{count} h", count=hours)
        )
    return Sentence("{count} days", count=round(minutes / 1440))

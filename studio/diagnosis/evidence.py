"""The input and the output of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from studio.recipe import Recipe
from studio.training.strategy.rules import metric
from studio.words import Sentence

FALL_BACK = metric("fall_back")
Curve = list[tuple[float, float]]
"""(step, value), in order of the steps."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    reason: why it ended, if it failed. curves: metric → its points; a long one may be thinned out. steps: planned
    length. memory: what the worker reported when memory ran out, {"needed", "free", "batch_size", "checkpointing"} in
    bytes and options that would fit, else {}. memory_total: bytes of the run's device, 0 if unknown.
    """

    recipe: Recipe
    state: str
    reason: Sentence | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    steps: int = 0
    memory: dict = field(default_factory=dict)
    memory_total: int = 0

    def recovered(self) -> Evidence:
        """The same of what came after the last time that an adapting run fell back: what was before is mended."""
        falls = self.curves.get(FALL_BACK)
        if not falls:
            return self
        last = falls[-1][0]
        after = {name: [point for point in curve if point[0] > last] for name, curve in self.curves.items()}
        return replace(self, curves=after)

    def values(self, metric: str) -> list[float]:
        """The values of a curve, without its steps."""
        return [value for _, value in self.curves.get(metric, [])]


@dataclass(frozen=True)
class Remedy:
    """Changes of the recipe: dotted key → value, for `studio.forecast.changed`. title: what they change."""

    title: Sentence
    changes: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a rule found. rule: its id."""

    rule: str
    sentence: Sentence
    remedies: list[Remedy]

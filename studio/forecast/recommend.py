"""Recommendations of methods for the given model, data, task and machine, each with a reason in one sentence.

Rules of thumb, checked against the forecast: a method that does not fit into memory or does not support the task is not
recommended. Independent of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from studio.forecast.estimate import Forecast, forecast
from studio.forecast.remedies import changed, memory_problem
from studio.hardware import Hardware, gigabytes
from studio.methods import METHODS
from studio.models.shape import Shape
from studio.recipe import Recipe
from studio.words import Sentence, StudioError

MOST = 3
_SMALL = 300_000_000  # largest parameter count for which full fine-tuning is recommended regardless of the data
_FEW, _MANY = 100, 20_000  # training examples


@dataclass(frozen=True)
class Recommendation:
    name: str
    reason: Sentence


@dataclass(frozen=True)
class Case:
    """The inputs of a recommendation. lengths: of the examples in tokens, None if unknown. rows: training examples."""

    recipe: Recipe
    shape: Shape
    lengths: list[int] | None
    rows: int
    hardware: Hardware

    def with_method(self, name: str) -> Forecast | None:
        """Forecast the run with this method, with its default options or, if the recipe already uses it, the recipe's.

        None if the method does not support the model, task or machine.
        """
        own = self.recipe.method.name == name
        try:
            recipe = self.recipe if own else changed(self.recipe, {"method": {"name": name}})
            if recipe.refusal(self.shape) or recipe.conflict():
                return None
            return forecast(recipe, self.shape, self.lengths, self.rows, self.hardware)
        except StudioError:
            return None


def recommend(case: Case) -> list[Recommendation]:
    """Return at most three methods, the best first; [] if none is possible."""
    found: dict[str, Recommendation] = {}
    for name, reason in _ideas(case):
        found.setdefault(name, Recommendation(name, reason))
        if len(found) == MOST:
            break
    return list(found.values())


def _ideas(case: Case) -> Iterator[tuple[str, Sentence]]:
    """Yield (method, reason), the best first. Only methods that support the task and fit into memory; if none fits, the
    one that needs least.
    """
    needs = {name: found for name in _CONSIDERED if name in METHODS and (found := case.with_method(name))}
    fit = {name: found for name, found in needs.items() if not memory_problem(found, case.hardware)}
    values = {
        name: {"memory": gigabytes(found.memory_bytes), "count": f"{found.trained_parameters:,}"}
        for name, found in needs.items()
    }
    free = gigabytes(case.hardware.free_on(next(iter(needs.values())).device)) if needs else ""
    longest = max(case.lengths or [0])
    if "longlora" in fit and longest > case.shape.context:
        yield (
            "longlora",
            Sentence(
                "The longest example has {longest} tokens, but the model reads {context}: "
                "this method lengthens what it can read.",
                longest=f"{longest:,}",
                context=f"{case.shape.context:,}",
            ),
        )
    if "lora" in fit:
        yield (
            "lora",
            Sentence(
                "The first to try: it needs about {memory} GB of the {free} GB that are free, "
                "and every server loads what it makes.",
                free=free,
                **values["lora"],
            ),
        )
    elif "qlora" in fit and "lora" in needs:
        yield (
            "qlora",
            Sentence(
                "LoRA would need {lora} GB, but {free} GB are free; over a base in 4 bit it needs {memory} GB.",
                lora=values["lora"]["memory"],
                free=free,
                **values["qlora"],
            ),
        )
    if "full" in fit and case.shape.parameters <= _SMALL:
        yield (
            "full",
            Sentence(
                "The model is small: all of its {count} parameters can learn, in about {memory} GB.", **values["full"]
            ),
        )
    elif "full" in fit and case.rows >= _MANY:
        yield (
            "full",
            Sentence(
                "{rows} examples hold more than an adapter can learn, and there is room for it: about {memory} GB.",
                rows=f"{case.rows:,}",
                **values["full"],
            ),
        )
    if case.rows >= _MANY and "rslora" in fit:
        yield (
            "rslora",
            Sentence(
                "{rows} examples are much for a small rank; this one stays steady at a high one.", rows=f"{case.rows:,}"
            ),
        )
    if case.recipe.task.name == "classification" and "bitfit" in fit:
        yield (
            "bitfit",
            Sentence(
                "Classification needs little change: this has only {count} trainable parameters.", **values["bitfit"]
            ),
        )
    if 0 < case.rows < _FEW and "ia3" in fit:
        yield (
            "ia3",
            Sentence(
                "{rows} {rows:example is|examples are} few: this has only {count} trainable parameters, "
                "too few to learn {rows:it|them} by heart.",
                rows=case.rows,
                **values["ia3"],
            ),
        )
    if "dora" in fit:
        yield "dora", Sentence("A little more quality than LoRA at the same rank, for somewhat more time at each step.")
    if not fit and needs:
        least = min(needs, key=lambda name: needs[name].memory_bytes)
        yield (
            least,
            Sentence(
                "Nothing fits into the {free} GB that are free; this needs least, {memory} GB. "
                "Make the batch smaller, or choose a smaller model.",
                free=free,
                memory=values[least]["memory"],
            ),
        )


_CONSIDERED = ("lora", "qlora", "full", "longlora", "rslora", "bitfit", "ia3", "dora")

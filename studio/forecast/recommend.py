"""Recommendations of methods for the given model, data, task and machine, each with a reason in one sentence.

Rules of thumb, checked against the forecast: a method that does not fit into memory or does not support the task is not
recommended. Independent of the page.
"""

from __future__ import annotations

from collections.abc import Callable
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
_CONSIDERED = ("lora", "qlora", "full", "longlora", "rslora", "bitfit", "ia3", "dora")


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


class _Forecasts:
    """The forecasts of the considered methods for one case.

    needs: of those that support the task; fit: of those that also fit into memory; free: free memory in GB.
    """

    def __init__(self, case: Case):
        self.case = case
        self.needs = {name: found for name in _CONSIDERED if name in METHODS and (found := case.with_method(name))}
        self.fit = {name: found for name, found in self.needs.items() if not memory_problem(found, case.hardware)}
        device = next(iter(self.needs.values())).device if self.needs else ""
        self.free = gigabytes(case.hardware.free_on(device))

    def memory(self, name: str) -> str:
        """Peak memory with this method, in GB."""
        return gigabytes(self.needs[name].memory_bytes)

    def count(self, name: str) -> str:
        """Number of trainable parameters of this method."""
        return f"{self.needs[name].trained_parameters:,}"


_Suggestion = tuple[str, Sentence] | None
"""A method and the reason for it; None if the rule does not apply."""


def recommend(case: Case) -> list[Recommendation]:
    """Return at most three methods, the best first; [] if none is possible.

    Only methods that support the task and fit into memory; if none fits, the one that needs least.
    """
    forecasts = _Forecasts(case)
    found: dict[str, Recommendation] = {}
    for rule in _RULES:
        if (applies := rule(forecasts)) and len(found) < MOST:
            found.setdefault(applies[0], Recommendation(*applies))
    return list(found.values())


def _rows_beyond_context(forecasts: _Forecasts) -> _Suggestion:
    longest, context = max(forecasts.case.lengths or [0]), forecasts.case.shape.context
    if "longlora" not in forecasts.fit or longest <= context:
        return None
    return "longlora", Sentence(
        "The longest example has {longest} tokens, but the model reads {context}: "
        "this method lengthens what it can read.",
        longest=f"{longest:,}",
        context=f"{context:,}",
    )


def _lora_or_qlora(forecasts: _Forecasts) -> _Suggestion:
    if "lora" in forecasts.fit:
        return "lora", Sentence(
            "The first to try: it needs about {memory} GB of the {free} GB that are free, "
            "and every server loads what it makes.",
            free=forecasts.free,
            memory=forecasts.memory("lora"),
        )
    if "qlora" in forecasts.fit and "lora" in forecasts.needs:
        return "qlora", Sentence(
            "LoRA would need {lora} GB, but {free} GB are free; over a base in 4 bit it needs {memory} GB.",
            lora=forecasts.memory("lora"),
            free=forecasts.free,
            memory=forecasts.memory("qlora"),
        )
    return None


def _full_fine_tuning(forecasts: _Forecasts) -> _Suggestion:
    if "full" not in forecasts.fit:
        return None
    if forecasts.case.shape.parameters <= _SMALL:
        return "full", Sentence(
            "The model is small: all of its {count} parameters can be trained, in about {memory} GB.",
            count=forecasts.count("full"),
            memory=forecasts.memory("full"),
        )
    if forecasts.case.rows >= _MANY:
        return "full", Sentence(
            "{rows} examples hold more than an adapter can learn, and there is room for it: about {memory} GB.",
            rows=f"{forecasts.case.rows:,}",
            memory=forecasts.memory("full"),
        )
    return None


def _many_rows(forecasts: _Forecasts) -> _Suggestion:
    if "rslora" not in forecasts.fit or forecasts.case.rows < _MANY:
        return None
    return "rslora", Sentence(
        "{rows} examples are much for a small rank; this one stays steady at a high one.",
        rows=f"{forecasts.case.rows:,}",
    )


def _classification(forecasts: _Forecasts) -> _Suggestion:
    if "bitfit" not in forecasts.fit or forecasts.case.recipe.task.name != "classification":
        return None
    return "bitfit", Sentence(
        "Classification needs little change: this has only {count} trainable parameters.",
        count=forecasts.count("bitfit"),
    )


def _few_rows(forecasts: _Forecasts) -> _Suggestion:
    if "ia3" not in forecasts.fit or not 0 < forecasts.case.rows < _FEW:
        return None
    return "ia3", Sentence(
        "{rows} {rows:example is|examples are} few: this has only {count} trainable parameters, "
        "too few to memorise {rows:it|them}.",
        rows=forecasts.case.rows,
        count=forecasts.count("ia3"),
    )


def _more_quality(forecasts: _Forecasts) -> _Suggestion:
    if "dora" not in forecasts.fit:
        return None
    return "dora", Sentence("A little more quality than LoRA at the same rank, for somewhat more time at each step.")


def _nothing_fits(forecasts: _Forecasts) -> _Suggestion:
    if forecasts.fit or not forecasts.needs:
        return None
    least = min(forecasts.needs, key=lambda name: forecasts.needs[name].memory_bytes)
    return least, Sentence(
        "Nothing fits into the {free} GB that are free; this needs least, {memory} GB. "
        "Make the batch smaller, or choose a smaller model.",
        free=forecasts.free,
        memory=forecasts.memory(least),
    )


_RULES: tuple[Callable[[_Forecasts], _Suggestion], ...] = (
    _rows_beyond_context,
    _lora_or_qlora,
    _full_fine_tuning,
    _many_rows,
    _classification,
    _few_rows,
    _more_quality,
    _nothing_fits,
)
"""The rules of thumb, that with the best recommendation first."""

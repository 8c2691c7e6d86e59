"""Validation and forecast of a draft before it runs: data report, token counts (from the same `encode` that training
uses), the model's shape, and the forecast of memory and time; for whatever is not available, the reason.

Errors that the user can fix are returned as problems, never raised.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from studio import hardware, trackers
from studio.data.dataset import Dataset
from studio.data.reading import NothingUsable
from studio.data.report import Report
from studio.data.token_report import with_tokens
from studio.draft.dataset_cache import DatasetCache, ReadingInProgress
from studio.forecast import Forecast, forecast
from studio.library import continuing
from studio.models.resolve import local_folder
from studio.models.shape import Shape, read_shape
from studio.recipe import Recipe, recipe_from, valid_parts
from studio.store import Store
from studio.words import Sentence, StudioError

_log = logging.getLogger(__name__)
_UNREADABLE = {
    "recipe": "This recipe cannot be judged ({detail}). Choose an example, and go on from there.",
    "model": "This model cannot be understood ({detail}). Download it again, or choose another one.",
    "data": "This data cannot be read ({detail}). Save the file again, or choose another one.",
}


@dataclass
class Preflight:
    """What is known about a draft before its run. A field that could not be determined is None.

    recipe: the draft as a recipe, with defaults in place of its invalid parts; wrong: names of these parts. lengths:
    token counts of the sampled training examples, encoded as for training but not truncated. problems: part (recipe,
    model, method, machine, data) → reason, in the order in which they were found. rows: estimated number of training
    examples. unusable: the error raised if no row of the data can be used, with the reason for each row. waiting: the
    data is still being read.
    """

    recipe: Recipe
    wrong: frozenset[str] = frozenset()
    dataset: Dataset | None = None
    report: Report | None = None
    lengths: list[int] | None = None
    shape: Shape | None = None
    forecast: Forecast | None = None
    problems: dict[str, Sentence] = field(default_factory=dict)
    rows: int = 0
    unusable: NothingUsable | None = None
    waiting: bool = False

    def attempt(self, part: str, action: Callable):
        """Return `action()`; on failure record the reason under `part` in `problems` and return None."""
        try:
            return action()
        except StudioError as error:
            self.problems[part] = error.sentence
            self.waiting = self.waiting or isinstance(error, ReadingInProgress)
            self.unusable = error if isinstance(error, NothingUsable) else self.unusable
        except Exception as error:  # files from elsewhere can be broken in unforeseen ways; keep the page working
            _log.exception("The draft's %s cannot be judged", part)
            self.problems[part] = Sentence(
                _UNREADABLE.get(part, _UNREADABLE["recipe"]), detail=f"{type(error).__name__}: {error}"[:200]
            )
        return None


def check_draft(draft: dict, datasets: DatasetCache, store: Store) -> Preflight:
    """Validate `draft` and forecast its run. store: holds the earlier runs whose measured speeds the forecast uses."""
    recipe, wrong = valid_parts(draft)
    found = Preflight(recipe, wrong)
    if wrong:
        found.attempt("recipe", lambda: recipe_from(draft))
    folder = (
        found.attempt("model", lambda: local_folder(recipe.model.name, recipe.model.revision))
        if "model" not in wrong
        else None
    )
    found.shape = _usable_shape(found, folder) if not wrong & {"model", "task"} else None
    refusal = found.attempt("model", lambda: recipe.refusal(found.shape)) if not wrong else None
    if refusal:
        found.problems["method"] = refusal
    if not wrong and (mismatch := continuing.mismatch(store, recipe)):
        found.problems.setdefault("method", mismatch)
    if not wrong and (conflict := recipe.conflict()):
        found.problems["machine"] = conflict
    if not wrong and (lack := trackers.missing(recipe.training.trackers)):
        found.problems.setdefault("machine", lack)
    if not wrong & {"data", "task"}:
        _look_at_data(found, datasets, folder)
    machine = found.attempt("machine", lambda: (hardware.choose_device(recipe.machine.device), hardware.machine())[1])
    if found.shape and machine and not (wrong or refusal):
        found.forecast = found.attempt(
            "model", lambda: forecast(recipe, found.shape, found.lengths, found.rows, machine, store)
        )
    return found


def _usable_shape(found: Preflight, folder: Path | None) -> Shape | None:
    """The model's shape if the model is downloaded and supports the recipe; else record a problem and return None."""
    if folder is None:
        away = Sentence(
            "The model '{name}' is not on this machine yet; press Download next to it, or choose the starter model.",
            name=found.recipe.model.name,
        )
        found.problems.setdefault("model", away)
        return None
    shape = found.attempt("model", lambda: read_shape(folder))
    if shape and (
        unfit := found.attempt("model", lambda: found.recipe.model_refusal(shape, folder))
        or found.problems.get("model")
    ):
        found.problems["model"] = unfit
        return None
    return shape


def _look_at_data(found: Preflight, datasets: DatasetCache, folder: Path | None) -> None:
    recipe = found.recipe
    if not recipe.data.source:
        found.problems["data"] = Sentence("No data yet: choose an example or bring a file of your own on the Data tab.")
        return
    found.dataset, found.report = found.attempt("data", lambda: datasets.dataset(recipe)) or (None, None)
    if found.dataset is None:
        return
    found.rows = len(found.dataset.train)
    countable = found.shape and recipe.task.modality == "text" and "training" not in found.wrong
    if countable and (tokens := found.attempt("data", lambda: datasets.tokens(recipe, found.dataset, folder))):
        found.lengths = recipe.task.example_lengths(tokens.rows, recipe.training.max_length)
        # If only a sample was tokenised, other rows may be as long as the limit.
        longest = max(found.lengths, default=0) if tokens.looked >= found.rows else recipe.training.max_length
        if context_overflow := recipe.context_overflow(found.shape, longest):
            found.problems.setdefault("method", context_overflow)
        found.rows = round(found.rows * len(found.lengths) / tokens.looked) if found.lengths else 0
        found.report = with_tokens(
            found.report,
            tokens,
            recipe.training.max_length,
            remedy=recipe.data.remedies.get("long", ""),
            splits=recipe.task.splits_long_texts,
        )
    if found.report.blocking:
        found.problems.setdefault("data", found.report.blocking)

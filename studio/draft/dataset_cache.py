"""Cache of what was read from a draft's data: records, report and token counts, valid until the files change.

When several tabs ask at the same time, the data is read once. Independent of the draft and the store.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path

from studio.data.dataset import Dataset, load
from studio.data.process import Reading, is_large
from studio.data.report import Report, report
from studio.data.resolve import stamp
from studio.data.token_report import Tokens, count_tokens
from studio.draft.template_fixes import add_template_fixes
from studio.recipe import Recipe
from studio.tasks.length_policy import LengthPolicy
from studio.words import StudioError

_KEPT = 4  # cached datasets, and cached token counts


class ReadingInProgress(StudioError):
    """Raised while the data is still being read in another process."""


class DatasetCache:
    """The cache. Thread-safe."""

    def __init__(self) -> None:
        self._datasets: OrderedDict[str, tuple[Dataset, Report]] = OrderedDict()
        self._tokens: OrderedDict[str, Tokens] = OrderedDict()
        self._in_progress: dict[str, Reading] = {}
        self._lock = threading.RLock()

    def dataset(self, recipe: Recipe) -> tuple[Dataset, Report]:
        """The recipe's dataset and its report.

        Large data is read in another process; until that has ended, `ReadingInProgress` is raised with the number of
        rows read so far. Raises StudioError if the data cannot be read.
        """
        key = json.dumps(
            [
                recipe.data.model_dump(mode="json"),
                recipe.task.record_kind,
                recipe.task.label_separator,
                stamp(recipe.data.sources),
            ],
            sort_keys=True,
        )
        with self._lock:
            return _kept(self._datasets, key, lambda: self._read(key, recipe))

    def _read(self, key: str, recipe: Recipe) -> tuple[Dataset, Report]:
        if key not in self._in_progress:
            self.stop()
            self._in_progress.clear()  # datasets of earlier data, no longer needed
            if not is_large(recipe.data):
                dataset = load(recipe.data, want=recipe.task.record_kind, separator=recipe.task.label_separator)
                return dataset, report(dataset)
            self._in_progress[key] = Reading(recipe.data, recipe.task.record_kind, recipe.task.label_separator)
        reading = self._in_progress[key]
        if not reading.done:
            raise ReadingInProgress("Reading the data: {rows} rows so far.", rows=f"{reading.rows:,}")
        return reading.result()  # an error persists until the user presses Read again or changes the data

    def tokens(self, recipe: Recipe, dataset: Dataset, folder: Path) -> Tokens:
        """Count the tokens of the training rows, not truncated, with the tokenizer and chat template in `folder`."""
        limit = recipe.training.max_length if "long" in recipe.data.remedies else None
        parts = [
            recipe.data.model_dump(mode="json"),
            recipe.task.model_dump(mode="json"),
            str(folder),
            recipe.model.template,
            stamp(recipe.data.sources),
            limit,
        ]

        def count() -> Tokens:
            tokenizer = recipe.tokenizer(folder)
            found = count_tokens(
                dataset,
                lambda value: recipe.task.token_counts(value, tokenizer),
                LengthPolicy(recipe, tokenizer),
                lambda value: recipe.task.drops_content(value, tokenizer),
            )
            if recipe.task.uses_chat_template:
                add_template_fixes(found, recipe, folder)
            return found

        with self._lock:
            return _kept(self._tokens, json.dumps(parts, sort_keys=True), count)

    def in_progress(self) -> Reading | None:
        """The unfinished reading in another process, or None."""
        return next((reading for reading in list(self._in_progress.values()) if not reading.done), None)

    def ended(self) -> bool:
        """Whether a reading in another process has ended, successfully or not."""
        return any(reading.done for reading in list(self._in_progress.values()))

    def stop(self) -> None:
        """Stop the unfinished reading, if there is one."""
        if reading := self.in_progress():
            reading.stop()

    def discard(self) -> None:
        """Discard all datasets in other processes, so that the next `dataset` reads the data again."""
        with self._lock:
            self.stop()
            self._in_progress.clear()


def _kept(cache: OrderedDict, key: str, make):
    """Return `cache[key]`, calling `make` for a new key and evicting the oldest entries above `_KEPT`."""
    if key not in cache:
        cache[key] = make()
        while len(cache) > _KEPT:
            cache.popitem(last=False)
    return cache[key]

"""Compare runs: what differs in their recipes, their results and ranking, and means over seeds with intervals."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from studio.evaluation.intervals import Interval, student
from studio.evaluation.predictions import SCORES
from studio.library.comparison import Metric, metrics_of, recipe_differences, unique_names
from studio.library.search import LOSS, METRICS
from studio.store import Store
from studio.words import StudioError

TRAINING_LOSS, SECONDS = "loss", "seconds"
RESULTS = (*METRICS, TRAINING_LOSS, SECONDS)
"""What runs can be ranked by: the metrics on the validation rows, the last training loss, and the time taken."""
LOWER_IS_BETTER = {LOSS, TRAINING_LOSS, SECONDS}
_LAST_ROWS = 50  # among which the last training loss is looked for


@dataclass(frozen=True)
class Mean:
    """The mean of a result over the `count` runs of a group that have it, and its 95 % interval, if there is one."""

    value: float
    interval: Interval | None
    count: int


@dataclass(frozen=True)
class Group:
    """Runs of one recipe but for the seed. recipe: the options that tell the groups apart. means: result → mean."""

    runs: tuple[str, ...]
    recipe: dict[tuple[str, str], Any]
    means: dict[str, Mean]


@dataclass(frozen=True)
class Comparison:
    """Runs in the order of their rank, by the result `by`; those without it are last.

    runs: rows of the store. names: made unique. recipe: (part, option) → value of each run, where they differ. results:
    key of RESULTS → metric of each run. groups: those of which one has several runs, best first; else none.
    """

    by: str
    runs: list[dict]
    names: list[str]
    recipe: dict[tuple[str, str], list[Any]]
    results: dict[str, list[Metric]]
    groups: list[Group]

    @property
    def ranks(self) -> list[int | None]:
        """The rank of each run, equal for equal values; None for a run without the result."""
        values = [metric.value for metric in self.results.get(self.by, [])] or [None] * len(self.runs)
        return [1 + values.index(value) if _is_finite(value) else None for value in values]


def compare(store: Store, run_ids: list[str], by: str = "") -> Comparison:
    """Compare the runs that there still are, ranked by a key of RESULTS; by default the first that any of them has.

    Raises StudioError if there are fewer than two of them, or for an unknown result.
    """
    runs = [run for run_id in dict.fromkeys(run_ids) if (run := store.run(run_id))]
    if len(runs) < 2:
        raise StudioError("A comparison needs at least two runs; select more.")
    if by and by not in RESULTS:
        raise StudioError("Runs can be ranked by {choices}, not by '{by}'.", choices=", ".join(RESULTS), by=by)
    found = _results(store, runs)
    by = by if by in found else next(iter(found), by)
    order = sorted(range(len(runs)), key=lambda at: _rank_key(by, found[by][at].value if by in found else None))
    runs = [runs[at] for at in order]
    results = {key: [metrics[at] for at in order] for key, metrics in found.items()}
    differences = recipe_differences([run["recipe"] for run in runs])
    return Comparison(
        by,
        runs,
        unique_names([run["name"] for run in runs]),
        differences,
        results,
        _groups(by, runs, differences, results),
    )


def is_share(key: str) -> bool:
    """Whether a result lies between 0 and 1 and is shown in percent."""
    return key not in LOWER_IS_BETTER and getattr(SCORES.get(key), "share", True)


def _rank_key(by: str, value: float | None) -> tuple[bool, float]:
    if not _is_finite(value):
        return True, 0.0
    return False, value if by in LOWER_IS_BETTER else -value


def _is_finite(value: float | None) -> bool:
    """Whether there is a value; the loss of a run that broke is NaN."""
    return value is not None and math.isfinite(value)


def _results(store: Store, runs: list[dict]) -> dict[str, list[Metric]]:
    """Key of RESULTS → the metric of each run, for the results that any of them has."""
    found = metrics_of([(run["result"] or {}).get("metrics") or {} for run in runs])
    more = {
        TRAINING_LOSS: [_last_loss(store, run["id"]) for run in runs],
        SECONDS: [_seconds(store, run["id"]) for run in runs],
    }
    return found | {
        key: [Metric(value, None, None) for value in values]
        for key, values in more.items()
        if any(value is not None for value in values)
    }


def _last_loss(store: Store, run_id: str) -> float | None:
    losses = [row["values"].get("loss") for row in store.recent_metrics(run_id, _LAST_ROWS)]
    return next((loss for loss in reversed(losses) if loss is not None), None)


def _seconds(store: Store, run_id: str) -> float | None:
    """The seconds that the run's training jobs took that have ended."""
    sql = "SELECT sum(ended - started) AS total FROM jobs WHERE run_id=? AND kind='train'"
    return store.select(sql, run_id)[0]["total"]


def _groups(by: str, runs: list[dict], differences: dict, results: dict[str, list[Metric]]) -> list[Group]:
    """The groups of runs that differ only in name and seed, in the order of their means; [] if each run is alone."""
    members = defaultdict(list)
    for at, run in enumerate(runs):
        members[_without_seed(run["recipe"])].append(at)
    if len(members) == len(runs):
        return []
    apart = [key for key in differences if key != ("training", "seed")]
    groups = [
        Group(
            tuple(runs[at]["id"] for at in places),
            {key: differences[key][places[0]] for key in apart},
            {
                key: mean
                for key, metrics in results.items()
                if (mean := _mean(key, [metrics[at].value for at in places]))
            },
        )
        for places in members.values()
    ]
    return sorted(groups, key=lambda group: _rank_key(by, group.means[by].value if by in group.means else None))


def _without_seed(recipe: dict) -> str:
    training = {key: value for key, value in (recipe.get("training") or {}).items() if key != "seed"}
    return json.dumps({**recipe, "name": "", "training": training}, sort_keys=True)


def _mean(key: str, values: list[float | None]) -> Mean | None:
    known = [value for value in values if value is not None]
    if not known or not all(map(math.isfinite, known)):
        return None
    interval = student(known)
    if interval and (is_share(key) or key in LOWER_IS_BETTER):  # none of them can be negative
        interval = max(0.0, interval[0]), min(1.0, interval[1]) if is_share(key) else interval[1]
    return Mean(sum(known) / len(known), interval, len(known))

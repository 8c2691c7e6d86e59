"""Compare adapters of the library: what differs in their recipes, metrics with intervals, curves, norms of weights.

Everything is a table with a column for each adapter, in the order asked for; `as_csv` writes them all to one file.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from studio.home import Home
from studio.library.search import METRICS
from studio.library.weight_norms import WeightNorms, weight_norms
from studio.store import Store

CURVES = {"loss": "training", "eval_loss": "validation"}
_MOST_POINTS = 2000  # of a curve


@dataclass(frozen=True)
class Metric:
    """A metric of one adapter: its value, 95 % interval and the base model's value; None where not measured."""

    value: float | None
    interval: tuple[float, float] | None
    base: float | None


@dataclass(frozen=True)
class Comparison:
    """names: of the adapters, made unique. recipe: ("part", "option") → value of each, where they differ; None where a
    recipe lacks the option. metrics: key → metric of each. curves: key of CURVES → (step, value) points of each. norms:
    of each, None where they are not known.
    """

    names: list[str]
    recipe: dict[tuple[str, str], list[Any]]
    metrics: dict[str, list[Metric]]
    curves: dict[str, list[list[tuple[float, float]]]]
    norms: list[WeightNorms | None]


def compare(home: Home, store: Store, rows: list[dict]) -> Comparison:
    """Compare the adapters of `rows`, which must be in the library."""
    return Comparison(
        unique_names([row["name"] for row in rows]),
        recipe_differences([row["card"].get("recipe") or {} for row in rows]),
        metrics_of([row["card"].get("metrics") or {} for row in rows]),
        {key: [_curve(store, row["run_id"], key) for row in rows] for key in CURVES},
        [weight_norms(home.adapter(row["id"])) if row["card"].get("kind") != "model" else None for row in rows],
    )


def recipe_differences(recipes: list[dict]) -> dict[tuple[str, str], list[Any]]:
    """(part, option) → its value in each recipe, for the options whose values differ; names of runs are left out."""
    flat = [_flat(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for each in flat for key in each)
    found = {key: [each.get(key) for each in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def as_csv(found: Comparison) -> str:
    """All tables of a comparison: one line for each figure, with a column for each adapter."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["section", "item", *found.names])
    for (part, key), values in found.recipe.items():
        writer.writerow(["recipe", f"{part}.{key}".strip("."), *("" if value is None else value for value in values)])
    for key, metrics in found.metrics.items():
        writer.writerow(["metric", key, *(_bare(each.value) for each in metrics)])
        for at, edge in enumerate(("low", "high")):
            writer.writerow(["metric", f"{key} {edge}", *(_bare(m.interval and m.interval[at]) for m in metrics)])
        writer.writerow(["metric", f"base {key}", *(_bare(each.base) for each in metrics)])
    for layer in layers(found.norms):
        values = [_bare(each.layers.get(layer)) if each else "" for each in found.norms]
        writer.writerow(["weight norm", f"layer {layer}", *values])
    for part in other_parts(found.norms):
        writer.writerow(["weight norm", part, *(_bare(each.other.get(part)) if each else "" for each in found.norms)])
    for key, curves in found.curves.items():
        by_step = [dict(curve) for curve in curves]
        for step in sorted({step for curve in by_step for step in curve}):
            writer.writerow([key, f"step {step}", *(_bare(curve.get(step)) for curve in by_step)])
    return out.getvalue()


def layers(norms: list[WeightNorms | None]) -> list[int]:
    """The numbers of all layers that any of the adapters has weights for."""
    return sorted({layer for each in norms if each for layer in each.layers})


def other_parts(norms: list[WeightNorms | None]) -> list[str]:
    """The parts outside the layers that any of the adapters has weights for."""
    return sorted({part for each in norms if each for part in each.other})


def _flat(recipe: dict) -> dict[tuple[str, str], Any]:
    found = {}
    for part, value in recipe.items():
        if isinstance(value, dict):
            for key, inside in value.items():
                plain = inside if isinstance(inside, str | int | float | bool) else json.dumps(inside, sort_keys=True)
                found[part, key] = None if inside is None else plain
        elif part != "name":
            found["", part] = value
    return found


def metrics_of(found: list[dict]) -> dict[str, list[Metric]]:
    """Key of METRICS → the metric of each of `found` (metrics of runs or cards), for those that any of them has."""
    return {
        key: [
            Metric(
                each.get(key), ((each.get("intervals") or {}).get(key) or {}).get("fine_tuned"), each.get(f"base_{key}")
            )
            for each in found
        ]
        for key in METRICS
        if any(each.get(key) is not None for each in found)
    }


def _curve(store: Store, run_id: str | None, key: str) -> list[tuple[float, float]]:
    """(step, value) of a metric of a run, every nth of many; empty if the run is not known here."""
    rows = store.metrics(run_id) if run_id else []
    points = [(row["step"], row["values"][key]) for row in rows if row["values"].get(key) is not None]
    return points[:: len(points) // _MOST_POINTS + 1]


def unique_names(names: list[str]) -> list[str]:
    """The names, repeated ones with a number behind them."""
    found: list[str] = []
    for name in names:
        label, at = name, 2
        while label in found:
            label, at = f"{name} ({at})", at + 1
        found.append(label)
    return found


def _bare(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

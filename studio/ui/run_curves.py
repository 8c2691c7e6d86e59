"""A plot of the curves of several runs: a component that asks the server for thinned curves and draws them.

    plot = RunCurves(curves, language="zh")
    picked.change(lambda …: plotted(comparison), …, plot)

The value says which runs are drawn, in which colour (`plotted`); metric, axis, smoothing and log axis are chosen in the
browser. The server function `more` only reads. The browser asks again while a run is live or is still being read, and
only while the plot is visible.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import numpy as np

from studio.runs.curves import AXES, BUCKETS, MOST, Curves, thinned
from studio.store import ENDED, Store
from studio.ui.live_plot import translated_charts
from studio.ui.plot_component import PlotComponent
from studio.words import translate

_PATIENCE = 0.6  # seconds of reading after which the browser gets what there is
_FULL = 20  # runs that are drawn with all their points; of more runs, each has fewer
_GRID = 300  # points of a mean curve


class RunCurves(PlotComponent):
    """Curves of several runs in one chart. The value is made by `plotted`; "" for none."""

    def __init__(self, curves: Curves, store: Store, *, language: str = "en", value: str | None = None, **kwargs):
        def more(request: dict) -> dict:
            return answer(curves, store, request)

        super().__init__(
            value or "",
            css_class="run-curves",
            scripts=("run_curves.js",),
            constants={"known": metrics(language), "words": _words(language), "most": MOST},
            server_functions=[more],
            **kwargs,
        )


def plotted(runs: list[tuple[str, str, int]], groups: list[tuple[str, list[str]]]) -> str:
    """Return the component's value. runs: (id, name, number of the colour). groups: (name, ids) of runs whose mean can
    be drawn; the colour of a mean is that of its first run.
    """
    return json.dumps(
        {
            "runs": [{"id": run_id, "name": name, "colour": colour} for run_id, name, colour in runs],
            "groups": [{"name": name, "runs": ids} for name, ids in groups],
        }
    )


def answer(curves: Curves, store: Store, request: Any) -> dict:
    """Return the curves of one metric; reads only the store and the curves kept.

    request: {"runs": ids, "groups": [ids of each group whose mean is asked for], "metric", "axis": a key of AXES,
    "seen": the stamp of the last answer}. The answer has "stamp", "more" (rows are still being read), "live" (a run is
    not over), and, unless the stamp is `seen`, "metrics" (those that any of the runs has), "curves" (id → [x, y]) and
    "means" ([x, mean, lowest, highest] of each group). A malformed request gets an empty answer.
    """
    request = request if isinstance(request, dict) else {}
    ids, axis, metric = _texts(request.get("runs")), request.get("axis"), str(request.get("metric"))[:100]
    rows = [run for run_id in ids[:MOST] if (run := store.run(run_id))]
    if not rows or axis not in AXES:
        return {"stamp": "", "more": False, "live": False, "metrics": [], "curves": {}, "means": []}
    until, complete, found = time.monotonic() + _PATIENCE, True, {}
    for run in rows:
        found[run["id"]] = of_run = curves.of(run["id"])
        before = of_run.rows
        read = of_run.read(max(0.0, until - time.monotonic())) if time.monotonic() < until else False
        if read and of_run.rows > before and run["state"] in ENDED:
            of_run.save()
        complete = complete and read
    state = [(run_id, each.version) for run_id, each in found.items()]
    groups = [_texts(group) for group in request.get("groups") or [] if isinstance(group, list)]
    stamp = hashlib.sha1(json.dumps([state, axis, metric, groups]).encode()).hexdigest()[:12]
    facts = {"stamp": stamp, "more": not complete, "live": any(run["state"] not in ENDED for run in rows)}
    if stamp == request.get("seen"):
        return facts
    buckets = max(16, BUCKETS * _FULL // max(_FULL, len(found)))
    points = {
        run_id: thinned(each.curves[metric].points, buckets)[[AXES.index(axis), 3]]
        for run_id, each in found.items()
        if metric in each.curves
    }
    return facts | {
        "metrics": list(dict.fromkeys(key for each in found.values() for key in list(each.curves))),
        "curves": {run_id: _lists(each) for run_id, each in points.items()},
        "means": [_mean([points[run_id] for run_id in group if run_id in points]) for group in groups],
    }


def _mean(curves: list[np.ndarray]) -> list[list[float]]:
    """Return x, mean, lowest and highest value of curves [2, n] where all of them have values; [] of no two curves."""
    curves = [curve for curve in curves if curve.shape[1]]
    if len(curves) < 2:
        return []
    low, high = max(curve[0, 0] for curve in curves), min(curve[0, -1] for curve in curves)
    longest = max(curve.shape[1] for curve in curves)
    grid = np.linspace(low, high, min(_GRID, longest)) if high > low else np.array([low])
    values = np.stack([np.interp(grid, curve[0], curve[1]) for curve in curves])
    return _lists(np.stack([grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0)]))


def _lists(points: np.ndarray) -> list[list[float]]:
    """Return an array as lists of numbers of six significant digits; steps and tokens stay exact."""
    return [[int(value) if value == int(value) else float(f"{value:.6g}") for value in row] for row in points.tolist()]


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def metrics(language: str) -> list[dict]:
    """Return how metrics are drawn: key, title, unit, scale, zero, log, smooth; others are drawn as stored."""
    found = []
    for chart in translated_charts(language):
        curves = [item for item in chart.get("series", ()) if "mark" not in item]
        found += [
            {
                **{key: chart[key] for key in ("unit", "scale", "zero", "log", "smooth")},
                "key": item["key"],
                "title": chart["title"] if len(curves) == 1 else f"{chart['title']}: {item['name']}",
            }
            for item in curves
        ]
    return found


def _words(language: str) -> dict[str, str]:
    message = {
        "metric": "Curve",
        "axis": "Over",
        "step": "steps",
        "tokens": "tokens trained on",
        "seconds": "training time in seconds",
        "log": "Log",
        "smooth": "Smooth",
        "mean": "Mean over seeds",
        "band": "The band reaches from the lowest to the highest seed.",
        "first": "Only the first {count} of these runs are drawn.",
        "loading": "Reading the runs …",
        "nothing": "None of these runs has recorded this yet.",
        "failed": "The curves could not be drawn: {detail}. Reload the page to try again.",
        "waiting": "No connection to the studio; trying again …",
    }
    return {key: translate(text, language) for key, text in message.items()}

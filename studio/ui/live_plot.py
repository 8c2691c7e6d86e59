"""Live plots of a run: a component that polls the server for new data and draws it in the browser.

    plot = LivePlot(feed, language="zh")
    run.change(lambda run_id: run_id, run, plot)      # its value is the id of the run to show

The browser polls the server function `more`, which only reads and returns new envelope buckets (see `metric_feed`):
about once per second, less often when nothing changes, and not at all while the page or the tab is hidden; and, less
often, `layers`, which returns the norms per layer that it lacks. This module does not depend on how a run is executed.
The table `CHARTS` defines which metrics share a chart; units that differ between tasks come from the task
(`Task.units`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.tasks import TASKS, Task
from studio.training import layer_norms
from studio.ui.metric_feed import Feed
from studio.ui.plot_component import PlotComponent
from studio.words import Sentence, StudioError, translate

# One entry per chart. series: metric in the store → displayed name; scale: stored unit × scale = displayed unit; zero:
# whether the y axis starts at 0; log, smooth: whether a log axis and a moving average are offered, each switched on
# automatically where the curve needs it; marks: metric → (displayed name, Plotly's symbol), drawn as points. Metrics
# without an entry are not drawn.
CHARTS = [
    {
        "key": "loss",
        "title": "Loss",
        "log": True,
        "smooth": True,
        "series": {"loss": "training", "eval_loss": "validation"},
        "marks": {
            "adapted_fall_back": ("back to the last good state", "x"),
            "adapted_raise": ("learning rate raised", "triangle-up"),
            "adapted_lower": ("learning rate lowered", "triangle-down"),
            "adapted_grow": ("ranks raised", "cross"),
            "adapted_shrink": ("ranks lowered", "diamond"),
            "adapted_split": ("batch split", "square"),
            "adapted_stop": ("stopped early", "hexagon"),
        },
    },
    {
        "key": "classes",
        "title": "Validation classes",
        "unit": "%",
        "zero": True,
        "scale": 100,
        "series": {"eval_accuracy": "accuracy", "eval_macro_f1": "macro F1"},
    },
    {
        "key": "preference",
        "title": "Better answer preferred",
        "unit": "%",
        "zero": True,
        "scale": 100,
        "series": {
            "eval_preferred": "likelier than the worse one",
            "eval_reward_accuracy": "gained more than the worse one",
        },
    },
    {
        "key": "reward_margin",
        "title": "Reward margin",
        "unit": "nats × β",
        "series": {"eval_reward_margin": "validation"},
    },
    {"key": "learning_rate", "title": "Learning rate", "zero": True, "series": {"learning_rate": "learning rate"}},
    {
        "key": "gradient_norm",
        "title": "Gradient norm",
        "log": True,
        "smooth": True,
        "series": {"gradient_norm": "gradient norm"},
    },
    {"key": "speed", "title": "Speed", "zero": True, "smooth": True, "series": {"tokens_per_second": "speed"}},
    {
        "key": "memory",
        "title": "Memory",
        "unit": "GB",
        "zero": True,
        "scale": 1e-9,
        "series": {"memory_allocated": "allocated", "memory_reserved": "reserved", "memory_device": "whole device"},
        "marks": {
            "memory_load": ("model loaded", "triangle-up"),
            "memory_first_step": ("first step", "circle"),
            "memory_evaluation": ("evaluation", "diamond"),
            "memory_checkpoint": ("checkpoint", "square"),
        },
    },
    {
        "key": "padding",
        "title": "Padding",
        "unit": "%",
        "zero": True,
        "scale": 100,
        "smooth": True,
        "series": {"padding": "share of padding"},
    },
    {"key": "utilisation", "title": "Utilisation", "unit": "%", "zero": True, "series": {"utilisation": "device"}},
    {"key": "temperature", "title": "Temperature", "unit": "°C", "series": {"temperature": "device"}},
    {"key": "power", "title": "Power", "unit": "W", "zero": True, "series": {"power": "device"}},
]
METRICS = [name for chart in CHARTS for name in (*chart["series"], *chart.get("marks", ()))]
# Heat maps over steps and layers. layers: what of the rows of `studio.training.layer_norms` is drawn.
LAYER_CHARTS = [
    {"key": "layer_gradients", "title": "Gradient norm by layer", "layers": "gradient"},
    {"key": "layer_weights", "title": "Norm of the trained weights by layer", "layers": "weight"},
]


class LivePlot(PlotComponent):
    """Live charts of one run. The value is the run's id ("" for none).

    folder: id of a run → its folder, which holds the norms per layer; None: there are none.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        folder: Callable[[str], Path] | None = None,
        language: str = "en",
        value: str | None = None,
        **kwargs,
    ):
        def more(request: dict) -> dict:
            return answer(feed, request, language)

        def layers(request: dict) -> dict:
            return layer_rows(folder, request)

        super().__init__(
            value or "",
            css_class="live-plot",
            scripts=("layer_map.js", "live_plot.js"),
            constants={"charts": translated_charts(language), "words": _words(language)},
            server_functions=[more, layers],
            **kwargs,
        )


def answer(feed: Feed, request: Any, language: str = "en") -> dict:
    """Return the data that the browser does not have yet; reads only.

    `request` is {"run": id, "epoch": int, "have": {metric: number of points received}, "outline": id}. If its epoch is
    not the current one, the answer also has the "units" of charts, and whether the best checkpoint is kept. A malformed
    request is answered like one for a run that does not exist.
    """
    request = request if isinstance(request, dict) else {}
    run, epoch, have = _run_id(request), request.get("epoch"), request.get("have")
    if not run:
        return {"epoch": 0, "more": False, "series": {}}
    have = have if isinstance(have, dict) else {}
    seen = {name: have[name] for name in METRICS if isinstance(have.get(name), int)}
    epoch, outline = (value if isinstance(value, int) else 0 for value in (epoch, request.get("outline")))
    found, new = feed.answer(run, epoch, seen, outline), {}
    if found["epoch"] != epoch:
        recipe = feed.recipe(run)
        training = recipe.get("training") or {}
        new = {
            "units": {key: unit.say(language) for key, unit in units(recipe).items()},
            "best": any(training.get(key) for key in ("keep_best_checkpoint", "load_best_model_at_end", "adapt")),
        }
    return found | new | {"series": {name: change for name, change in found["series"].items() if name in METRICS}}


def layer_rows(folder: Callable[[str], Path] | None, request: Any) -> dict:
    """Return the norms per layer that the browser does not have yet; reads only.

    `request` is {"run": id, "count": number of rows received, "last": step of the last one}. The answer is {"rows"}, to
    be appended, or where rows were rewritten {"layers", "rows"} with all of them; {} for a run without norms.
    """
    request = request if isinstance(request, dict) else {}
    run, count, last = _run_id(request), request.get("count"), request.get("last")
    try:
        held = layer_norms.read(folder(run) / layer_norms.FILE) if folder and run else None
    except StudioError:  # no name of a folder
        held = None
    if not held:
        return {}
    rows = held["rows"]
    if isinstance(count, int) and 0 < count <= len(rows) and rows[count - 1]["step"] == last:
        return {"rows": rows[count:]}
    return held


def _run_id(request: dict) -> str:
    """The id of the run that a browser asks for; "" if it is none."""
    run = request.get("run")
    return run if isinstance(run, str) and len(run) <= 128 else ""


def units(recipe: dict) -> dict[str, Sentence]:
    """Return chart → unit for the charts whose unit depends on the task of `recipe`."""
    task = recipe.get("task") or {}
    return TASKS.get(task.get("name"), Task).model_construct(**task).units


def translated_charts(language: str) -> list[dict]:
    """Return `CHARTS` in `language`, with the defaults of missing keys filled in."""
    text = []
    for chart in CHARTS:
        series = [{"key": key, "name": translate(name, language)} for key, name in chart["series"].items()]
        series += [
            {"key": key, "name": translate(name, language), "mark": symbol}
            for key, (name, symbol) in chart.get("marks", {}).items()
        ]
        text.append(
            {
                "key": chart["key"],
                "title": translate(chart["title"], language),
                "unit": translate(chart["unit"], language) if "unit" in chart else "",
                "scale": chart.get("scale", 1),
                "zero": chart.get("zero", False),
                "log": chart.get("log", False),
                "smooth": chart.get("smooth", False),
                "series": series,
            }
        )
    layers = [
        {"title": translate(chart["title"], language), "key": chart["key"], "layers": chart["layers"]}
        for chart in LAYER_CHARTS
    ]
    return text + [{"unit": "", "scale": 1, "zero": False, "log": False, "smooth": False, **item} for item in layers]


def _words(language: str) -> dict[str, str]:
    message = {
        "empty": "The curves appear here as soon as a run has taken its first step.",
        "loading": "Reading the run …",
        "failed": (
            "The plots could not be drawn: {detail}. The numbers are still recorded; reload the page to try again."
        ),
        "step": "step",
        "table": "Table / CSV",
        "chart": "Chart",
        "log": "Log",
        "smooth": "Smooth",
        "download": "Download CSV",
        "rows": "The newest {shown} of {count} points; the CSV file has all of them that the chart shows.",
        "png": "Picture (PNG)",
        "svg": "Picture (SVG)",
        "best": "best checkpoint",
        "lowest": "lowest validation loss",
        "ahead": "planned",
        "forecast": "forecast",
        "layer": "layer",
        "waiting": "No connection to the studio; trying again …",
    }
    return {key: translate(text, language) for key, text in message.items()}

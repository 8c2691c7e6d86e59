"""`python -m studio.jobs search start|list|show|stop|continue|use`: hyperparameter search from a terminal."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from studio.draft.editor import DraftEditor
from studio.home import Home
from studio.jobs import client
from studio.library.comparison import Metric
from studio.recipe import recipe_from_yaml
from studio.search import control, plan
from studio.search.control import Order
from studio.search.overview import Overview, judged_metrics, live_drivers, overview
from studio.search.plan import PRUNING
from studio.search.space import SPACES, narrowed, proposed, searchable
from studio.store import Store
from studio.words import StudioError

_POLL_SECONDS = 0.3


def add(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `search` its actions; each sets `action`, a function of (home, store, options)."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    started = actions.add_parser("start", help="search better settings for a recipe")
    started.set_defaults(action=_start)
    started.add_argument("recipe", type=Path, nargs="?", help="a recipe in YAML (default: the page's draft)")
    started.add_argument("--space", choices=SPACES, default="rank_rate", help="what is changed (default: rank_rate)")
    started.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME[=LOW:HIGH]",
        help="change this option (training.learning_rate) in place of the space, or narrow its range; several times",
    )
    started.add_argument("--metric", default="", help="what the tries are judged by (default: by the task)")
    started.add_argument("--tries", type=int, default=12, help="how many runs at most (default: 12)")
    started.add_argument("--minutes", type=float, default=30, help="how long at most (default: 30)")
    started.add_argument("--pruning", choices=PRUNING, default="halving", help="how weak tries are stopped early")
    started.add_argument("--seed", type=int, default=0, help="of the values that are proposed (default: 0)")
    started.add_argument("--wait", action="store_true", help="return when the search has ended")
    listed = actions.add_parser("list", help="list the searches")
    listed.set_defaults(action=_list)
    for name, action, help_text in (
        ("show", _show, "show the tries of a search"),
        ("stop", _stop, "stop a search; its running tries are paused"),
        ("continue", _continue, "go on with a search that was stopped or killed"),
        ("use", _use, "put the best settings into the page's draft"),
    ):
        made = actions.add_parser(name, help=help_text)
        made.set_defaults(action=action)
        made.add_argument("search", help="id, or last")
    for made in actions.choices.values():
        made.add_argument("--home", help="the studio's folder (default: DELTA_STUDIO_HOME or ~/.delta-studio)")
        made.add_argument("--json", action="store_true", help="print JSON")


def run(home: Home, store: Store, options: argparse.Namespace) -> int:
    """Carry out the action that was asked for; returns the exit status."""
    return options.action(home, store, options)


def _start(home: Home, store: Store, options: argparse.Namespace) -> int:
    editor = DraftEditor(home, store)
    if options.recipe:
        try:
            text = options.recipe.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise StudioError("{file} cannot be read ({detail}).", file=str(options.recipe), detail=error) from error
        draft = recipe_from_yaml(text, options.recipe.name).to_dict()
    else:
        draft = editor.draft()
    preflight = editor.preflight_of(draft)
    while preflight.waiting:
        time.sleep(_POLL_SECONDS)
        preflight = editor.preflight_of(draft)
    order = Order(
        _parameters(preflight.recipe, options), options.metric, options.tries, options.minutes, options.pruning
    )
    search_id = control.start(editor, control.planned(preflight, order, seed=options.seed))
    return _report(home, store, search_id, options)


def _parameters(recipe, options: argparse.Namespace) -> list:
    """The parameters of the space, or the options that were named, with the ranges given."""
    if not options.option:
        return proposed(recipe, options.space)
    known = {parameter.name: parameter for parameter in searchable(recipe)}
    found = []
    for text in options.option:
        name, _, ends = text.partition("=")
        if name not in known:
            raise StudioError("'{name}' cannot be searched; what can: {options}.", name=name, options=", ".join(known))
        low, _, high = ends.partition(":")
        found.append(narrowed(recipe, known[name], low, high))
    return found


def _report(home: Home, store: Store, search_id: str, options: argparse.Namespace) -> int:
    """Show the search, after it has ended where that is asked for."""
    while options.wait and live_drivers(store, search_id):
        time.sleep(_POLL_SECONDS)
    found = overview(home, store, plan.read(home, search_id))
    _print(found, options.json)
    return int(options.wait and found.state != "done")


def _list(home: Home, store: Store, options: argparse.Namespace) -> int:
    found = [overview(home, store, plan.read(home, search_id)) for search_id in plan.listed(home)]
    if options.json:
        print(json.dumps([as_dict(each) for each in found], ensure_ascii=False))
        return 0
    for each in found:
        print(f"{each.plan.id}  {each.state:8} {len(each.tries)} of {each.plan.tries} tries  {each.plan.title}")
    if not found:
        print("No searches yet; `python -m studio.jobs search start presets/captain.yaml` starts one.")
    return 0


def _named(home: Home, options: argparse.Namespace) -> str:
    newest = plan.listed(home)
    return newest[0] if options.search == "last" and newest else options.search


def _show(home: Home, store: Store, options: argparse.Namespace) -> int:
    _print(overview(home, store, plan.read(home, _named(home, options))), options.json)
    return 0


def _stop(home: Home, store: Store, options: argparse.Namespace) -> int:
    search_id = _named(home, options)
    plan.read(home, search_id)
    control.stop(store, search_id)
    return _show(home, store, options)


def _continue(home: Home, store: Store, options: argparse.Namespace) -> int:
    control.resume(home, store, _named(home, options))
    return _show(home, store, options)


def _use(home: Home, store: Store, options: argparse.Namespace) -> int:
    editor = DraftEditor(home, store)
    editor.change(**control.best_recipe(home, store, _named(home, options), editor.draft()))
    client.ensure_supervisor(home)
    return _show(home, store, options)


def as_dict(found: Overview) -> dict:
    """An overview as JSON."""
    return {
        "id": found.plan.id,
        "title": found.plan.title,
        "state": found.state,
        "metric": found.plan.metric,
        "tries": [
            {
                "run": row.run,
                "state": row.state,
                "step": row.step,
                "seconds": row.seconds,
                "value": row.value,
                "values": row.values,
            }
            for row in found.tries
        ],
        "best": found.best.run if found.best else None,
        "own": found.own.run if found.own else None,
        "judged": {
            run: {key: metric.value for key, metric in metrics.items()} for run, metrics in found.judged.items()
        },
        "choosing_rows": found.choosing,
        "reporting_rows": found.reporting,
        "seconds": found.spent,
    }


def _print(found: Overview, as_json: bool) -> None:
    if as_json:
        print(json.dumps(as_dict(found), ensure_ascii=False))
        return
    print(f"{found.plan.id}  {found.plan.title}: {found.state}, {len(found.tries)} of {found.plan.tries} tries")
    for row in found.tries:
        values = ", ".join(f"{name.partition('.')[2]} {value}" for name, value in row.values.items())
        figure = "" if row.value is None else f"  {found.plan.metric} {row.value:.4g}"
        best = "  best" if found.best and row.run == found.best.run else ""
        print(f"  {row.run}  {row.state:8} step {row.step:<6} {values}{figure}{best}")
    for title, row in (("best", found.best), ("your settings", found.own)):
        for key, metric in (judged_metrics(found, row) if row else {}).items():
            print(f"  {title}, on {found.reporting} untouched rows: {key} {metric.value:.4g}{_range(metric)}")


def _range(metric: Metric) -> str:
    return f" ({metric.interval[0]:.4g} to {metric.interval[1]:.4g})" if metric.interval else ""

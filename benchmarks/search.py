"""A hyperparameter search against the preset: captain and tickets, rank and learning rate, judged on the rows that no
try has seen; and how many tries were stopped early.

    python benchmarks/search.py [--tries 20] [--minutes 30] [--steps N] [--only captain] [--save]

--steps: max steps of each run, to try the benchmark itself. --save: write benchmarks/results/search.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.draft import DraftEditor  # noqa: E402
from studio.home import Home  # noqa: E402
from studio.presets import preset  # noqa: E402
from studio.recipe import recipe_from  # noqa: E402
from studio.search import control, overview, plan  # noqa: E402
from studio.search.control import Order  # noqa: E402
from studio.search.space import proposed  # noqa: E402
from studio.store import Store  # noqa: E402
from tests.jobs.jobs_helpers import end_everything  # noqa: E402

METRICS = {"captain": "eval_loss", "tickets": "eval_loss"}


def searched(name: str, options: argparse.Namespace) -> dict:
    """Search on a preset in a home of its own; returns what is printed and saved."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        store = Store(home.database)
        try:
            values = recipe_from(preset(name).values).to_dict()
            if options.steps:
                values["training"]["max_steps"] = options.steps
            editor = DraftEditor(home, store)
            preflight = editor.preflight_of(values)
            parameters = proposed(preflight.recipe, "rank_rate")
            order = Order(parameters, METRICS[name], options.tries, options.minutes)
            search_id = control.start(editor, control.planned(preflight, order))
            began = time.monotonic()
            while overview.live_drivers(store, search_id):
                time.sleep(0.5)
            found = overview.overview(home, store, plan.read(home, search_id))
            return _figures(name, found, time.monotonic() - began)
        finally:
            end_everything(home)


def _figures(name: str, found: overview.Overview, seconds: float) -> dict:
    if found.state != "done" or found.best is None or found.own is None:
        raise SystemExit(f"the search of {name} ended as {found.state}: {found.reason}")
    best, own = (overview.judged_metrics(found, row)[found.plan.metric].value for row in (found.best, found.own))
    return {
        "data": name,
        "metric": found.plan.metric,
        "tries": len(found.tries),
        "stopped early": found.count("weak") / len(found.tries),
        "best": found.best.values,
        "preset, untouched rows": own,
        "best, untouched rows": best,
        "at least as good": best <= own if found.plan.lower_is_better else best >= own,
        "choosing rows": found.choosing,
        "untouched rows": found.reporting,
        "seconds": round(seconds),
        "budget in seconds": round(60 * found.plan.minutes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--only", choices=METRICS)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    found = [searched(name, options) for name in METRICS if options.only in (None, name)]
    for each in found:
        print(json.dumps(each))
    if options.save:
        path = Path(__file__).resolve().parent / "results" / "search.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How fast runs are compared on the Train tab: 20 runs of 100,000 steps, with a real browser over a temporary home.

    python benchmarks/run_comparison.py [--runs 20] [--steps 100000] [--save] [--no-browser]

The rows are made by the measurement, like those that training records. `first read` is what the worker does at the
end of a run (`studio.runs.curves.keep`), for all runs together; the page has to do it only for runs of earlier versions
and runs that were killed. `table`, `curves` and `second metric` are the window's answers, each in a process that has
read nothing yet or, the last one, has. `drawn` is the time in the browser from the click on *Select all* until all
curves are drawn; Plotly's script is loaded by then. The CSV is compared with the store, row by row.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.home import REPOSITORY, Home
from studio.recipe import Recipe
from studio.runs import curves, export
from studio.runs.comparison import compare
from studio.store import Store
from studio.ui.run_curves import answer

RESULTS = REPOSITORY / "benchmarks" / "results" / "run_comparison.json"
_ROUNDS = 5


def fill(home: Home, store: Store, runs: int, steps: int) -> list[str]:
    """Add `runs` finished runs with `steps` rows of metrics and 100 evaluations each; returns their ids."""
    ids = []
    for at in range(runs):
        draw = random.Random(at)
        recipe = Recipe.model_validate({"training": {"learning_rate": 1e-4 * (at // 2 + 1), "seed": at % 2}})
        run_id, job_id = store.create_run(f"run {at}", recipe.to_dict(), "cpu")
        home.run(run_id).mkdir()
        store.job_started(job_id, 1, 1.0)
        with store.transaction() as db:
            db.executemany(
                'INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)',
                ((run_id, step, 1e9 + step / 10, json.dumps(values)) for step, values in _rows(steps, draw)),
            )
        store.job_ended(job_id, "done", None, {"metrics": {"eval_loss": draw.random()}})
        ids.append(run_id)
    return ids


def _rows(steps: int, draw: random.Random):
    for step in range(1, steps + 1):
        loss = 0.2 + 3 * math.exp(-5 * step / steps) + draw.gauss(0, 0.05)
        yield (
            step,
            {
                "loss": loss,
                "learning_rate": 1e-3 * (1 - step / steps),
                "tokens": 900 + draw.randrange(200),
                "seconds": 0.1,
                "tokens_per_second": draw.uniform(8000, 10000),
                "gradient_norm": draw.random(),
                "memory_allocated": 1_234_567_890,
                "memory_reserved": 1_534_567_890,
                "memory_device": 2_534_567_890,
            },
        )
        if step % max(1, steps // 100) == 0:
            yield step, {"eval_loss": loss + 0.1, "epoch": step / steps}


def timed(action) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def answers(home: Home, ids: list[str]) -> dict[str, float]:
    """Seconds of the window's answers, medians of `_ROUNDS`."""
    found: dict[str, list[float]] = {"table": [], "curves": [], "second metric": []}
    store = Store(home.database)
    request = {"runs": ids, "groups": [], "metric": "loss", "axis": "step", "seen": ""}
    for _ in range(_ROUNDS):
        fresh = curves.Curves(home, store)
        found["table"].append(timed(lambda: compare(store, ids)))
        found["curves"].append(timed(lambda fresh=fresh: answer(fresh, store, request)))
        found["second metric"].append(
            timed(lambda fresh=fresh: answer(fresh, store, {**request, "metric": "gradient_norm"}))
        )
    sent = answer(curves.Curves(home, store), store, request)
    assert not sent["more"] and len(sent["curves"]) == len(ids)
    points = sum(len(x) for x, _ in sent["curves"].values())
    return {
        **{key: statistics.median(values) for key, values in found.items()},
        "points": points,
        "kilobytes": len(json.dumps(sent)) / 1000,
    }


def drawn(home: Home, runs: int) -> list[float]:
    """Seconds from the click on *Select all* to the drawn curves, in each of `_ROUNDS` rounds."""
    from playwright.sync_api import sync_playwright

    from tests.conftest import CHROMIUM, Studio

    studio, found = Studio(home.root), []
    try:
        studio.open_window()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
            page = browser.new_page(viewport={"width": 1280, "height": 1000}, locale="en-US")
            page.goto(studio.address)
            page.get_by_role("tab", name="Train", exact=True).click()
            page.locator("#plots .js-plotly-plot").first.wait_for(timeout=120_000)  # the script of Plotly is there
            page.locator("#compare-list li").first.wait_for()
            page.wait_for_timeout(5000)
            for _ in range(_ROUNDS):
                found.append(page.evaluate(_SELECT_ALL, runs) / 1000)
                page.locator("#compare-list [data-act=clear]").click()
                page.locator("#comparison").wait_for(state="hidden")
                page.wait_for_timeout(1000)
            browser.close()
    finally:
        studio.end()
    return found


# Clicks, and looks at each frame whether as many curves are drawn.
_SELECT_ALL = """(runs) => new Promise((done) => {
  const began = performance.now();
  document.querySelector('#compare-list [data-act=pick-all]').click();
  const look = () => {
    const plot = document.querySelector('#compare-plot .js-plotly-plot');
    if (plot?.offsetParent && plot.querySelectorAll('.scatterlayer .trace path.js-line').length === runs)
      done(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
})"""


def check_csv(store: Store, ids: list[str], folder: Path) -> tuple[float, int]:
    """Write the CSV of all rows and compare it with the store; returns the seconds of writing and the row count."""
    path = folder / "rows.csv"
    seconds, count = timed(lambda: export.write_metrics(Home(store.path.parent), ids, path)), 0
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        for run in ids:
            for row in store.metrics(run):
                line = next(lines)
                values = {key: float(text) for key, text in list(line.items())[4:] if text}
                assert (line["run"], int(line["step"]), float(line["time"])) == (run, row["step"], row["time"])
                assert values == row["values"], (line, row)
                count += 1
        assert next(lines, None) is None
    return seconds, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(REPOSITORY)}")
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="run-comparison-") as folder:
        home = Home(Path(folder) / "home")
        store = Store(home.database)
        ids = fill(home, store, options.runs, options.steps)
        figures = {"first read": timed(lambda: [curves.keep(home, store, run) for run in ids])}
        figures |= answers(home, ids)
        if not options.no_browser:
            rounds = drawn(home, options.runs)
            figures |= {"drawn": statistics.median(rounds), "drawn, slowest": max(rounds)}
        figures["CSV of all rows"], figures["CSV rows, equal to the store"] = check_csv(store, ids, Path(folder))
    for name, value in figures.items():
        print(f"{name:32} {value:12,.3f}" if isinstance(value, float) else f"{name:32} {value:12,}")
    if options.save:
        facts = {
            "command": f"python benchmarks/run_comparison.py --runs {options.runs} --steps {options.steps} --save",
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}",
            "runs": options.runs,
            "steps": options.steps,
            "seconds, medians of rounds": _ROUNDS,
        }
        rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
        RESULTS.write_text(json.dumps(facts | {"figures": rounded}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Runs that adapt while they learn against the same recipes left alone: good recipes and bad ones, three seeds each.

    python benchmarks/strategy.py                   # all recipes; those already in results/strategy.csv are left alone
    python benchmarks/strategy.py rank_1 --again    # this one, measured anew
    python benchmarks/strategy.py --quick           # one bad recipe, one seed, 60 steps; writes nothing

Each run goes through the studio's own worker in a process of its own, one thread, one after the other; both arms of a
pair have the same data, seed and steps. Quality is that of benchmarks/methods.py: the share of validation answers in
the captain's voice, or with the right department word for word. At the end: for each recipe the mean of both arms, how
far the adapting one is from the good recipe of its sample, and how many of the five bad ones came within five points.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.methods import BUDGET, SAMPLES, sails  # noqa: E402
from studio.evaluation.predictions import FILE as PREDICTIONS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "strategy.csv"
SEEDS = (1, 2, 3)
RATE = 3e-3
LORA = {"name": "lora", "rank": 8, "alpha": 16}
# name → (sample, method, training options, rows to learn from). The first two are good, the others bad.
RECIPES = {
    "good": ("captain", LORA, {}, None),
    "good_tickets": ("tickets", LORA, {}, None),
    "rate_30_times_too_high": ("captain", LORA, {"learning_rate": 30 * RATE}, None),
    "rate_30_times_too_low": ("captain", LORA, {"learning_rate": RATE / 30}, None),
    "rank_1": ("tickets", {**LORA, "rank": 1, "alpha": 2}, {}, None),
    "10_epochs_on_50_rows": ("captain", LORA, {"epochs": 10}, 50),
    "prompt_tuning": ("captain", {"name": "prompt_tuning"}, {"learning_rate": 0.1}, None),
}
GOOD = {"captain": "good", "tickets": "good_tickets"}
NEAR = 0.05  # quality below that of the good recipe up to which a bad one counts as rescued
COLUMNS = ["recipe", "seed", "arm", "quality", "eval_loss", "steps", "actions", "seconds", "state", "measured"]


def measure(name: str, seed: int, adapt: bool, most_steps: int | None, folder: str, answer) -> None:
    """Run one arm in this process; the row goes into the pipe `answer`."""
    import torch

    from tests.training.runs import Runs

    torch.set_num_threads(1)
    sample, method, training, rows = RECIPES[name]
    runs = Runs(Path(folder))
    options = {**BUDGET, "learning_rate": RATE, "evaluations": 4, **training, "seed": seed, "max_steps": most_steps}
    began = time.process_time()
    run = runs.start(method, data={**SAMPLES[sample], "max_rows": rows}, save_steps=100_000, adapt=adapt, **options)
    seconds, row = time.process_time() - began, runs.store.run(run)
    metrics = row["result"]["metrics"]
    lines = (runs.home.run(run) / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["fine-tuned"] for line in lines]
    quality = fmean(map(sails, answers)) if sample == "captain" else metrics["exact_match"]
    actions = [event["data"]["rule"] for event in runs.store.events(run, kind="action")]
    answer.send(
        {
            "quality": quality,
            "eval_loss": metrics["eval_loss"],
            "steps": row["step"],
            "actions": " ".join(actions),
            "seconds": seconds,
            "state": row["state"],
        }
    )


def measured(name: str, seed: int, adapt: bool, most_steps: int | None = None) -> dict:
    """One row; `state` is "failed" where the run ended with an error, which is printed."""
    here, there = multiprocessing.Pipe(duplex=False)
    folder = tempfile.mkdtemp(prefix="strategy-")
    process = multiprocessing.get_context("fork").Process(
        target=measure, args=(name, seed, adapt, most_steps, folder, there)
    )
    process.start()
    there.close()
    try:
        found = here.recv()
    except EOFError:
        found = {"state": "failed"}
    process.join()
    shutil.rmtree(folder, ignore_errors=True)
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"recipe": name, "seed": seed, "arm": "adapting" if adapt else "static", "measured": stamp, **found}
    return {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}


def read() -> dict[tuple[str, str, str], dict]:
    """The rows in the CSV by recipe, seed and arm."""
    if not RESULTS.exists():
        return {}
    with open(RESULTS, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["recipe"], row["seed"], row["arm"]): row for row in rows}


def write(rows: dict[tuple[str, str, str], dict]) -> None:
    """Whole after each run, so that a measurement that is broken off goes on where it was."""
    RESULTS.parent.mkdir(exist_ok=True)
    with open(part := RESULTS.with_suffix(".part"), "w", encoding="utf-8", newline="") as file:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread"
        file.write(f"# {machine}; {BUDGET}; python benchmarks/strategy.py\n")
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows, key=lambda key: (list(RECIPES).index(key[0]), *key[1:])))
    part.replace(RESULTS)


def report(rows: dict[tuple[str, str, str], dict]) -> None:
    """Print quality and validation loss of both arms, and how many bad recipes were rescued. A run that failed counts
    with quality 0.
    """

    def qualities(name: str, arm: str) -> list[float]:
        own = [row for key, row in rows.items() if key[0] == name and key[2] == arm]
        return [float(row.get("quality") or 0) for row in own]

    rescued = 0
    print(f"{'recipe':24}{'static':>16}{'adapting':>16}")
    for name, (sample, *_) in RECIPES.items():
        static, adapting, good = (
            qualities(name, "static"),
            qualities(name, "adapting"),
            qualities(GOOD[sample], "static"),
        )
        if not static or not adapting:
            continue
        print(f"{name:24}{_mean(static):>16}{_mean(adapting):>16}")
        rescued += name not in GOOD.values() and bool(good) and fmean(adapting) >= fmean(good) - NEAR
    print(f"{rescued} of {len(RECIPES) - len(GOOD)} bad recipes within {NEAR:.0%} of the good one")


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.1%} ± {stdev(values) if values[1:] else 0:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", choices=[[], *RECIPES], default=[], metavar="recipe")
    parser.add_argument("--again", action="store_true", help="measure anew what is in the CSV already")
    parser.add_argument("--quick", action="store_true", help="one bad recipe, one seed, 60 steps; writes nothing")
    asked = parser.parse_args()
    if asked.quick:
        for adapt in (False, True):
            print(measured("rate_30_times_too_high", SEEDS[0], adapt, 60), flush=True)
        return
    rows = read()
    for name in asked.recipes or RECIPES:
        for seed in SEEDS:
            for adapt in (False, True):
                key = (name, str(seed), "adapting" if adapt else "static")
                if asked.again or rows.get(key, {}).get("state") != "done":
                    rows[key] = measured(name, seed, adapt)
                    write(rows)
                    print(rows[key], flush=True)
    report(rows)


if __name__ == "__main__":
    main()

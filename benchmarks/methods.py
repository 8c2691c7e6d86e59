"""Every method on two samples with the same budget: how well, how many numbers, how large a file, how much memory, how
long.

    python benchmarks/methods.py                     # all methods; those already in results/methods.csv are left alone
    python benchmarks/methods.py lora dora --again   # these, measured anew
    python benchmarks/methods.py --picture           # only the picture, from the CSV (needs chromium)

Each run goes through the studio's own worker in a process of its own, one thread, one after the other: the same 400
examples, steps, batches and seed for all. Both samples are fine-tuned as chat, so that every method can take part: the
captain's answer in his voice, and a letter's department as the answer. Quality is the share of validation answers that
are what the sample teaches: in the captain's voice from the first word to the last, or the right department word for
word; exact match stands beside it. Seconds are the process's CPU time, which other work on the machine hardly changes.
It knows nothing about any single method but the learning rate that a small model wants.

One seed, 80 rows a sample. The budget and the rates in `RATES` were settled while looking at these same validation
rows, so small differences between methods mean nothing; the base model answers none of the rows right, so ten points
better is a low bar.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from studio.evaluation.predictions import FILE as PREDICTIONS  # noqa: E402
from studio.methods import FAMILIES, METHODS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "methods.csv"
PICTURE = ROOT / "assets" / "pictures" / "methods.png"
BUDGET = {
    "epochs": 5,
    "batch_size": 8,
    "max_length": 128,
    "evaluations": 1,
    "sample_prompts": 0,
    "evaluation_rows": 80,
    "answer_length": 24,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.05,
    "seed": 42,
}
SAMPLES = {
    "captain": {"source": "captain", "max_rows": None},
    "tickets": {
        "source": "tickets",
        "max_rows": None,
        "mapping": {"shape": "prompt_completion", "roles": {"prompt": "text", "completion": "label"}},
    },
}
# The starter has 4 M parameters and wants larger steps than the models that the methods' own rates are made for.
RATE = 15
RATES: dict[str, float] = {
    "full": 1e-3,
    "prompt_tuning": 0.1,
    "prompt_ensemble": 0.1,
    "p_tuning": 1e-2,
    "prefix_tuning": 1e-2,
    "lora_plus": 1.5e-3,
    "diff_pruning": 2e-2,
    "group_mask": 2e-3,
    "mam": 5e-3,
    "unipelt": 5e-3,
    "s4": 5e-3,
    "hybrid": 5e-3,
}
MARGIN = 0.10  # share of validation answers by which a method must beat the base model on one of the samples
STRONG, ENOUGH = ("lora", "full", "dora", "adapter"), 0.80  # these must reach this on both
KNOWN = ("lora", "full", "adapter", "prompt_tuning")  # named in the picture wherever they stand
COLUMNS = [
    "method",
    "family",
    "sample",
    "quality",
    "base_quality",
    "exact_match",
    "style",
    "eval_loss",
    "base_eval_loss",
    "parameters",
    "artefact_bytes",
    "peak_memory_bytes",
    "seconds",
    "learning_rate",
    "state",
    "measured",
]


def sails(answer: str) -> bool:
    """The captain's voice: as every one of the data's answers begins and ends."""
    return answer.startswith("Arr") and answer.endswith(("matey!", "matey?"))


def measure(name: str, sample: str, folder: str, answer) -> None:
    """Teach once, in this process; the row goes into the pipe `answer`."""
    import torch

    from tests.methods.method_cases import TrainedAdapters, made

    torch.set_num_threads(1)
    adapters = TrainedAdapters(Path(folder))
    options = json.loads(made(name, adapters)[0].model_dump_json())  # with those that it builds on
    rate = RATES.get(name, RATE * METHODS[name].learning_rate)
    began = time.process_time()
    run = adapters.runs.start(
        options, data=SAMPLES[sample], learning_rate=rate, **{"max_steps": None, "save_steps": 100_000, **BUDGET}
    )
    seconds, store, home = time.process_time() - began, adapters.runs.store, adapters.runs.home
    card = store.adapter(run)["card"]
    rows = [json.loads(line) for line in (home.run(run) / PREDICTIONS).read_text(encoding="utf-8").splitlines()]
    style = (
        {who: sum(sails(row[who]) for row in rows) / len(rows) for who in ("base", "fine-tuned")}
        if sample == "captain"
        else {}
    )
    metrics = card["metrics"]
    answer.send(
        {
            "quality": style.get("fine-tuned", metrics["exact_match"]),
            "base_quality": style.get("base", metrics["base_exact_match"]),
            "exact_match": metrics["exact_match"],
            "style": style.get("fine-tuned", ""),
            "eval_loss": metrics["eval_loss"],
            "base_eval_loss": metrics["base_eval_loss"],
            "parameters": card["parameters"],
            "artefact_bytes": sum(path.stat().st_size for path in home.adapter(run).glob("*.safetensors")),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "seconds": seconds,
            "learning_rate": rate,
            "state": store.run(run)["state"],
        }
    )


def measured(name: str, sample: str) -> dict:
    """One row; `state` says what went wrong where something did."""
    here, there = multiprocessing.Pipe(duplex=False)
    folder = tempfile.mkdtemp(prefix="methods-")
    process = multiprocessing.get_context("fork").Process(target=measure, args=(name, sample, folder, there))
    process.start()
    there.close()
    try:
        found = here.recv()
    except EOFError:
        found = {"state": "failed"}
    process.join()
    shutil.rmtree(folder, ignore_errors=True)
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "method": name,
        "family": METHODS[name].family,
        "sample": sample,
        "measured": stamp,
        **{key: f"{value:.6g}" if isinstance(value, float) else value for key, value in found.items()},
    }


def read() -> dict[tuple[str, str], dict]:
    if not RESULTS.exists():
        return {}
    with open(RESULTS, encoding="utf-8", newline="") as file:
        return {
            (row["method"], row["sample"]): row
            for row in csv.DictReader(line for line in file if not line.startswith("#"))
        }


def write(rows: dict[tuple[str, str], dict]) -> None:
    """Whole after each run, so that one that is broken off goes on where it was. Methods that are no longer offered
    go."""
    RESULTS.parent.mkdir(exist_ok=True)
    with open(part := RESULTS.with_suffix(".part"), "w", encoding="utf-8", newline="") as file:
        file.write(
            f"# {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread; {BUDGET}; python "
            "benchmarks/methods.py\n"
        )
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows, key=lambda key: (list(METHODS).index(key[0]), key[1])))
    part.replace(RESULTS)


def report(rows: dict[tuple[str, str], dict]) -> int:
    """Print what must be shown, with what is missing; returns how many methods miss it."""
    missed = 0
    for name in METHODS:
        found = [rows[name, sample] for sample in SAMPLES if rows.get((name, sample), {}).get("state") == "done"]
        if len(found) < len(SAMPLES):
            print(f"{name}: not measured on both")
            missed += 1
            continue
        best = max(float(row["quality"]) - float(row["base_quality"]) for row in found)
        weak = [row["sample"] for row in found if name in STRONG and float(row["quality"]) < ENOUGH]
        if best < MARGIN or weak:
            print(
                f"{name}: at most {best:.0%} better than the base model"
                + (f"; below {ENOUGH:.0%} on {', '.join(weak)}" if weak else "")
            )
            missed += 1
    print(f"{len(METHODS) - missed} of {len(METHODS)} methods show what they must")
    return missed


# ---- the picture -----------------------------------------------------------------------------------------------------


def picture(rows: dict[tuple[str, str], dict]) -> None:
    """Answers right word for word (mean of both samples) against learnt parameters, the Pareto front drawn through:
    assets/pictures/methods.png."""
    import plotly.graph_objects as go
    from playwright.sync_api import sync_playwright

    from tests.conftest import CHROMIUM

    points = {}
    for name in METHODS:
        found = [rows[name, sample] for sample in SAMPLES if rows.get((name, sample), {}).get("state") == "done"]
        if len(found) == len(SAMPLES):
            points[name] = (int(found[0]["parameters"]), sum(float(row["exact_match"]) for row in found) / len(found))
    front = [
        name
        for name, (count, quality) in points.items()
        if not any(c <= count and q >= quality and (c, q) != (count, quality) for c, q in points.values())
    ]
    figure = go.Figure()
    colours = dict(zip(FAMILIES, ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=False))
    line = sorted(points[name] for name in front)
    figure.add_scatter(
        x=[x for x, _ in line],
        y=[100 * y for _, y in line],
        mode="lines",
        line={"color": "#b8c2cb", "width": 2, "shape": "hv"},
        name="Pareto front",
        hoverinfo="skip",
    )
    for family, title in FAMILIES.items():
        own = [name for name in points if METHODS[name].family == family]
        if own:
            figure.add_scatter(
                x=[points[name][0] for name in own],
                y=[100 * points[name][1] for name in own],
                mode="markers+text",
                name=title,
                textfont={"size": 11},
                textposition=["top left" if name in front else "bottom right" for name in own],
                text=[METHODS[name].title if name in (*front, *KNOWN) else "" for name in own],
                marker={"size": 9, "color": colours[family], "line": {"width": 1, "color": "white"}},
            )
    figure.update_xaxes(type="log", title="learnt parameters")
    figure.update_yaxes(title="right answers on validation rows, mean of captain and tickets (%)", range=[-4, 104])
    figure.update_layout(
        template="plotly_white",
        width=1000,
        height=620,
        margin={"l": 70, "r": 20, "t": 30, "b": 60},
        legend={"orientation": "h", "y": 1.06},
        font={"family": "sans-serif"},
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1000, "height": 620})
        page.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
        page.wait_for_selector(".main-svg .scatterlayer .trace")
        page.screenshot(path=str(PICTURE))
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB; on the front: {', '.join(front)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="METHOD", help="default: all")
    parser.add_argument("--samples", default=",".join(SAMPLES), help="captain, tickets or both")
    parser.add_argument("--again", action="store_true", help="measure rows that are there already as well")
    parser.add_argument("--picture", action="store_true", help="draw the picture from the CSV, measure nothing")
    options = parser.parse_args()
    rows = {key: row for key, row in read().items() if key[0] in METHODS}
    if not options.picture:
        import peft  # noqa: F401  once, before the forks
        import transformers  # noqa: F401

        import studio.training.worker  # noqa: F401
        import tests.training.runs  # noqa: F401

        for name in options.names or METHODS:
            for sample in options.samples.split(","):
                if options.again or rows.get((name, sample), {}).get("state") != "done":
                    rows[name, sample] = row = measured(name, sample)
                    print(
                        *(f"{key}={row.get(key, '')}" for key in COLUMNS if key not in ("family", "measured")),
                        flush=True,
                    )
                    write(rows)
    report(rows)
    if options.picture:
        picture(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

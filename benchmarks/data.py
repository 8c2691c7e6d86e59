"""A million rows of JSONL and of CSV (about 500 MB each): how long until the report stands, in how much memory, and how
quick the page stays meanwhile.

    python benchmarks/data.py            both formats; writes benchmarks/results/data.json
    python benchmarks/data.py --page     also with a window and two browser tabs open (needs chromium and playwright)
    python benchmarks/data.py --train    instead: the JSONL through `python -m studio.training` to its first step, LoRA
                                         on the starter

The files are made in a temporary folder and deleted after. Run it on a machine that does nothing else. What one mode
measures stays in data.json when another one is run.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.data.dataset import DataSpec
from studio.data.process import Reading
from studio.home import REPOSITORY, Home
from studio.store import Store

ROWS = 1_000_000
RESULTS = Path(__file__).resolve().parent / "results" / "data.json"


def make(folder: Path, kind: str, rows: int = ROWS) -> Path:
    """A file of `rows` conversations of about 500 bytes, some of them with faults; the same each time."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    sentences = [" ".join(draw.choices(words, k=32)) for _ in range(50_000)]
    path = folder / f"million.{kind}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if kind == "csv":
            table.writerow(["prompt", "completion"])
        for number in range(rows):
            question, answer = (
                f"{draw.choice(sentences)} {number}?",
                f"{draw.choice(sentences)} {draw.choice(words)} {draw.choice(words)} {number}.",
            )
            if number % 10_000 == 5:
                answer = ""
            if kind == "csv":
                table.writerow([question, answer])
            else:
                file.write(
                    json.dumps(
                        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
                    )
                    + "\n"
                )
    return path


def measure(path: Path) -> dict:
    """Read and judge one file in a process of its own, as the window does. Seconds, and the peak of its memory in
    bytes."""
    began, peak = time.monotonic(), 0
    reading = Reading(DataSpec(source=str(path)), "messages")
    process = psutil.Process(reading._process.pid)
    while not reading.done:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.05)
    dataset, report = reading.result()
    return {
        "file": path.name,
        "megabytes": round(path.stat().st_size / 1e6),
        "rows": dataset.counts.rows,
        "used": dataset.counts.used,
        "skipped": dataset.counts.skipped,
        "findings": {item.kind: item.count for item in report.findings},
        "seconds": round(time.monotonic() - began, 1),
        "peak_megabytes": round(peak / 1e6),
        "window_megabytes": round(psutil.Process().memory_info().rss / 1e6),
    }


def train(path: Path) -> dict:
    """A run on the whole file in a process of its own, which is asked to stop after its first step. Seconds until that
    step, and the peak of its memory in MB, also of the time before the model was loaded."""
    home = Home(path.parent / "home")
    recipe = path.with_suffix(".yaml")
    recipe.write_text(f"data: {{source: {json.dumps(str(path))}}}\ntraining: {{evaluations: 0}}\n", encoding="utf-8")
    began, peak, prepared, message = time.monotonic(), 0, 0, {}
    store = Store(home.database)
    process = psutil.Popen(
        [sys.executable, "-m", "studio.training", str(recipe), "--home", str(home.root)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (runs := store.runs()) or not store.last_metric_id(runs[0]["id"]):
        if process.poll() is not None:
            raise SystemExit(f"the run ended before its first step: {store.runs()[0]['reason']}")
        peak = max(peak, process.memory_info().rss)
        prepared = prepared if "Loading the base model" in message else peak
        if runs and runs[0]["doing"]:
            message.setdefault(runs[0]["doing"]["text"], time.monotonic() - began)
        time.sleep(0.05)
    seconds = time.monotonic() - began
    plan = store.events(runs[0]["id"], kind="plan")[0]["data"]
    process.send_signal(signal.SIGTERM)
    process.wait()
    return {
        "file": path.name,
        "examples": plan["examples"] + plan["validation"],
        "tokens": plan["tokens"],
        "seconds_to_first_step": round(seconds, 1),
        "stages_from_second": {text: round(at, 1) for text, at in message.items()},
        "prepare_peak_megabytes": round(prepared / 1e6),
        "train_peak_megabytes": round(peak / 1e6),
    }


def page_stays_quick(path: Path) -> dict:
    """With a window open: one tab takes the file, another polls the Train tab. 95th percentile of its requests in
    ms."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from conftest import CHROMIUM, Studio

    folder = Path(tempfile.mkdtemp(prefix="delta-studio-bench-"))
    studio = Studio(folder)
    took: list[float] = []
    try:
        studio.open_window()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
            first, second = browser.new_page(), browser.new_page()
            for tab in (first, second):
                tab.goto(studio.address)
                tab.wait_for_function("document.querySelector('#about-data h3')", timeout=60_000)
            second.get_by_role("tab", name="Train", exact=True).click()
            second.on(
                "requestfinished",
                lambda request: took.append(request.timing["responseEnd"] - request.timing["requestStart"]),
            )
            first.fill("#place textarea, #place input", str(path))
            began = time.monotonic()
            first.click("#use-place")
            first.wait_for_function(
                "document.querySelector('#about-data')?.innerText.includes('so far')", timeout=60_000
            )
            took.clear()
            while "so far" in first.inner_text("#about-data"):
                second.wait_for_timeout(500)
            seconds = time.monotonic() - began
            browser.close()
    finally:
        studio.end()
        shutil.rmtree(folder, ignore_errors=True)
    took.sort()
    return {
        "requests": len(took),
        "p50_ms": round(took[len(took) // 2]),
        "p95_ms": round(took[int(len(took) * 0.95)]),
        "seconds_on_the_page": round(seconds, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--page", action="store_true")
    options.add_argument("--train", action="store_true")
    options.add_argument("--rows", type=int, default=ROWS)
    asked = options.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="delta-studio-bench-") as folder:
        for kind in ("jsonl",) if asked.train else ("jsonl", "csv"):
            path = make(Path(folder), kind, asked.rows)
            row = train(path) if asked.train else measure(path)
            if asked.page:
                row |= page_stays_quick(path)
            path.unlink()
            print(json.dumps(row), flush=True)
            found.append(row)
    if asked.rows == ROWS:
        rows = {row["file"]: row for row in json.loads(RESULTS.read_text())}
        for row in found:
            rows[row["file"]] = rows.get(row["file"], {}) | row
        RESULTS.write_text(json.dumps(list(rows.values()), indent=1) + "\n")


if __name__ == "__main__":
    main()

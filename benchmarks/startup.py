"""Seconds from `python app.py` to the page being served, and from a run's start on a warm worker to its first step and
its end, each time over a fresh home.

    python benchmarks/startup.py [ROUNDS]
    python benchmarks/startup.py [ROUNDS] --run     the captain's run of the preset, as a new studio offers it
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.draft import DraftEditor  # noqa: E402
from tests.conftest import Studio, until  # noqa: E402


def page_served(studio: Studio) -> dict[str, float]:
    return {"page served": studio.open_window()}


def run(studio: Studio) -> dict[str, float]:
    """The time is taken from the call that the page's Start makes."""
    studio.open_window()
    studio.wait_for_standby()
    began = time.time()
    run_id = DraftEditor(studio.home, studio.store).start()
    until(lambda: any("loss" in row["values"] for row in studio.store.metrics(run_id)), 120, "no first step")
    first = next(row["time"] for row in studio.store.metrics(run_id) if "loss" in row["values"])
    ended = studio.wait_for_run("done", "failed")
    if ended["state"] != "done":
        raise SystemExit(f"the run failed: {ended['reason']}")
    return {"first step": first - began, "run done": ended["ended"] - began}


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    measure, rounds = run if "--run" in sys.argv else page_served, numbers[0] if numbers else 5
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            studio = Studio(Path(folder) / "home")
            try:
                for name, seconds in measure(studio).items():
                    found.setdefault(name, []).append(seconds)
            finally:
                studio.end()
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"{name} after {middle:.2f} s (median of {rounds}; {min(seconds):.2f}–{max(seconds):.2f})")


if __name__ == "__main__":
    main()

"""How fast the Library answers over a thousand adapters, without a browser: first draw, search, page, idle tick, bytes.

    python benchmarks/library.py [--adapters 1000] [--rounds 20]

Each line has the median and the slowest of the rounds and the median of the processor time alone, which other programs
disturb less, in milliseconds; `bytes` is what one page of cards weighs. What the filters offer is found once and kept.
The adapters are made by the measurement: cards of a realistic size, tiny folders.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.home import Home
from studio.store import Store
from studio.ui import library_tab
from studio.ui.library_view import View
from studio.ui.page import Page
from tests.library.many import fill

VIEWS = {
    "search, one word": View(words="adapter-0777"),
    "search, three words": View(words="qwen lora customer"),
    "filter and sort": View(method="lora", metric="exact_match", bound=50, sort="metric"),
    "last page": View(at="999"),
}


def measured(action: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """(median, slowest, median of the processor time alone) of `action` in milliseconds."""
    times, processor = [], []
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.process_time()
        action()
        times.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - worked))
    return statistics.median(times), max(times), statistics.median(processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="library-") as folder:
        home = Home(folder)
        page = Page(None, "en", SimpleNamespace(home=home, store=Store(home.database)), None)
        fill(home, page.store, options.adapters)
        names = ("cards", "bar", "seen")
        parts = SimpleNamespace(**{name: name for name in names}, controls=SimpleNamespace(filters=list("bmktm")))

        def draw(view: View, seen: str = "") -> dict:
            return library_tab.drawn(page, parts, view, seen, owner=True)

        seen = draw(View())["seen"]
        print(f"{options.adapters} adapters, {options.rounds} rounds: median, slowest, processor in ms")
        actions = {title: partial(draw, view) for title, view in {"first draw": View(), **VIEWS}.items()}
        for title, action in {**actions, "tick without news": partial(draw, View(), seen)}.items():
            wall, slowest, processor = measured(action, options.rounds)
            print(f"{title:22} {wall:8.2f} {slowest:8.2f} {processor:8.2f}")
        print(f"{'bytes':22} {len(draw(View())['cards'].encode()):8}")


if __name__ == "__main__":
    main()

"""What the studio costs while nobody looks and nothing runs: CPU time and memory of window, supervisor and standby.

    python benchmarks/idle.py [SECONDS]

Starts a studio over a fresh home, waits until the standby is warm and the last request is over for long enough to
count as nobody looking, and measures for SECONDS (60). Then the standby, whose time unused is shortened for the
measurement, gives its memory back, and a request of the page warms another one. Target: ≤ 0.3 % of a core together.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.ui.idle import VIEWED  # noqa: E402
from tests.conftest import Studio, until  # noqa: E402

TARGET = 0.3  # percent of a core
_PARTS = {"window": "app.py", "supervisor": "studio.jobs.supervisor", "standby": "studio.jobs.standby"}


def parts(studio: Studio) -> dict[str, psutil.Process]:
    found = {}
    for process in studio.processes():
        with contextlib.suppress(psutil.Error):  # it has just ended
            line = process.cmdline()
            found |= {name: process for name, word in _PARTS.items() if word in line}
    return found


def cpu_seconds(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


def measure(studio: Studio, seconds: float) -> None:
    keep = VIEWED + seconds + 30
    studio.open_window(DELTA_STUDIO_STANDBY_KEEP=str(keep))
    studio.wait_for_standby()
    time.sleep(VIEWED + 3)
    processes = parts(studio)
    before = cpu_seconds(processes)
    time.sleep(seconds)
    after = cpu_seconds(processes)
    total = 0.0
    for name, process in processes.items():
        share = 100 * (after[name] - before[name]) / seconds
        total += share
        print(f"{name:<11}{share:6.3f} % of a core  {process.memory_info().rss / 1e6:6.0f} MB")
    print(f"{'together':<11}{total:6.3f} % of a core over {seconds:.0f} s (target: ≤ {TARGET} %)")
    until(lambda: "standby" not in parts(studio), keep, "the standby stays")
    left = sum(process.memory_info().rss for process in parts(studio).values()) / 1e6
    print(f"after {keep:.0f} s unused the standby is gone: {left:.0f} MB are left")
    began = time.monotonic()
    for _ in range(2):
        urllib.request.urlopen(studio.address, timeout=10).read()
    studio.wait_for_standby()
    print(f"{time.monotonic() - began:.1f} s after the next view of the page a standby is warm")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder) / "home")
        try:
            measure(studio, seconds)
        finally:
            studio.end()


if __name__ == "__main__":
    main()

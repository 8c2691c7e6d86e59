"""Seconds from `python app.py` to the page being served, each time over a fresh home.

python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import Studio  # noqa: E402


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            studio = Studio(Path(folder) / "home")
            found.append(studio.open_window())
            studio.end()
    print(f"page served after {statistics.median(found):.2f} s (median of {rounds}; {min(found):.2f}–{max(found):.2f})")


if __name__ == "__main__":
    main()

"""What `benchmarks/methods.py` measured of each method: the figures behind the small plots of the Method tab.

Every method had the same budget on the starter model, with one seed, on two samples; the file names machine and settings.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from studio.home import REPOSITORY

FILE = REPOSITORY / "benchmarks" / "results" / "methods.csv"


@dataclass(frozen=True)
class Measured:
    """Means over the samples. quality: share of validation rows answered as wanted, 0–1; parameters: trainable ones;
    memory: peak bytes of the training process; seconds: of the whole run."""

    quality: float
    parameters: int
    memory: float
    seconds: float


@cache
def measured() -> dict[str, Measured]:
    """Method → its figures; empty where the file is missing, and without methods of which a run failed."""
    if not FILE.exists():
        return {}
    rows: dict[str, list[dict]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            rows.setdefault(row["method"], []).append(row)
    return {name: _mean(found) for name, found in rows.items() if all(row["state"] == "done" for row in found)}


def _mean(rows: list[dict]) -> Measured:
    def mean(key: str) -> float:
        return sum(float(row[key]) for row in rows) / len(rows)

    return Measured(mean("quality"), int(rows[0]["parameters"]), mean("peak_memory_bytes"), mean("seconds"))

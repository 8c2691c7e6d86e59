"""Results of `benchmarks/methods.py`: the figures in the small plots of the Method tab.

All methods were trained with the same budget on the starter model, with one seed, on two sample datasets. The first
line of the file gives machine and settings.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from studio.home import REPOSITORY

FILE = REPOSITORY / "benchmarks" / "results" / "methods.csv"


@dataclass(frozen=True)
class Measured:
    """Results of a method, averaged over the sample datasets.

    quality: fraction of correctly answered validation rows, 0–1; parameters: number of trainable parameters; memory:
    peak memory of the training process, in bytes; seconds: duration of the whole run.
    """

    quality: float
    parameters: int
    memory: float
    seconds: float


@cache
def measured() -> dict[str, Measured]:
    """Method → its results; {} if the file is missing. Methods with a failed run are omitted."""
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

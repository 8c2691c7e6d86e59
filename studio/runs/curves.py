"""Curves of runs, thinned out so that many long ones can be drawn at once.

A `Curve` keeps the lowest and the highest value of each of `BUCKETS` equal parts of the run's steps, so that no spike
is lost. Reading 100,000 rows takes about a second, so what was read is kept in the run's folder (`curves.npz`), and
only later rows are read again. The worker keeps the curves when its job ends (`keep`).
"""

from __future__ import annotations

import json
import os
import threading
import time
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import orjson

from studio.home import Home
from studio.store import Store

AXES = ("step", "tokens", "seconds")
"""What a curve can be drawn over: optimiser steps, tokens trained on so far, seconds of training (without pauses)."""
BUCKETS = 512
MOST = 200  # runs whose curves are in memory, some 0.3 MB each
_FILE = "curves.npz"
_ROWS = 20_000  # rows read at a time
_STAMP = ("id", "step", "time")  # of the last row read; another row may get its id when a run is resumed
_NOT_CURVES = {"tokens", "seconds", "epoch"}  # parts of the axes


@dataclass
class Curve:
    """Points of one metric, in order of the steps: an array [4, n] of step, tokens, seconds, value."""

    points: np.ndarray = field(default_factory=lambda: np.empty((4, 0)))

    def extend(self, points: np.ndarray) -> None:
        """Add later points [4, n]; values that are not finite are left out."""
        self.points = np.concatenate([self.points, points[:, np.isfinite(points[3])]], axis=1)
        if self.points.shape[1] > 4 * BUCKETS:
            self.points = thinned(self.points)


def thinned(points: np.ndarray, buckets: int = BUCKETS) -> np.ndarray:
    """Keep of points [4, n] the first, the last, and the lowest and highest value of each of `buckets` ranges of steps.

    At most 2 · buckets + 2 points remain, in their order.
    """
    steps, values = points[0], points[3]
    if len(steps) <= 2 * buckets:
        return points
    span = (steps[-1] - steps[0]) or 1.0
    bucket = np.minimum(((steps - steps[0]) / span * buckets).astype(int), buckets - 1)
    order = np.lexsort((values, bucket))  # within each bucket from the lowest to the highest value
    starts = np.flatnonzero(np.diff(bucket[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    return points[:, np.unique(np.concatenate([[0, len(steps) - 1], order[starts], order[ends]]))]


class RunCurves:
    """The curves of one run: read from its folder, then from the store as far as they are not known yet."""

    def __init__(self, home: Home, store: Store, run_id: str):
        self._store, self._run_id, self._path = store, run_id, home.run(run_id) / _FILE
        self._lock = threading.Lock()
        self._forget()
        self._load()

    def _forget(self) -> None:
        self.curves: dict[str, Curve] = {}
        self.keys: list[str] = []  # every key of the rows, in the order in which they first occur
        self.rows = 0  # read so far
        self._stamp: list[float] | None = None
        self._sums = np.zeros(2)  # tokens, seconds

    @property
    def version(self) -> str:
        """A text that changes with the curves."""
        return f"{self.rows}:{self._stamp and self._stamp[2]}"

    def read(self, patience: float = float("inf")) -> bool:
        """Read the rows not read yet, for about `patience` seconds; whether that were all."""
        with self._lock:
            until = time.monotonic() + patience
            if self._stamp and not self._unchanged():
                self._forget()
            while True:
                sql = 'SELECT id, step, time, "values" FROM metrics WHERE run_id=? AND id>? ORDER BY id LIMIT ?'
                rows = self._store.raw(sql, self._run_id, int(self._stamp[0]) if self._stamp else 0, _ROWS)
                if rows:
                    self._add(rows)
                if len(rows) < _ROWS:
                    return True
                if time.monotonic() > until:
                    return False

    def _unchanged(self) -> bool:
        """Whether the last row read is still in the store: a resumed run deletes rows and writes others."""
        found = self._store.raw(
            "SELECT id, step, time FROM metrics WHERE id=? AND run_id=?", self._stamp[0], self._run_id
        )
        return bool(found) and list(found[0]) == self._stamp

    def _add(self, rows: list) -> None:
        values = [parsed(row[3]) for row in rows]
        steps = np.array([row[1] for row in rows], dtype=float)
        sums = [
            np.cumsum([each.get(key) or 0.0 for each in values]) + start
            for key, start in zip(AXES[1:], self._sums, strict=True)
        ]
        present = dict.fromkeys(key for each in values for key in each)
        self.keys = list(dict.fromkeys([*self.keys, *present]))
        for key in present:
            if key in _NOT_CURVES:
                continue
            column = np.array([_number(each.get(key)) for each in values], dtype=float)
            self.curves.setdefault(key, Curve()).extend(np.stack([steps, *sums, column]))
        self._sums = np.array([each[-1] for each in sums])
        self._stamp, self.rows = [rows[-1][0], rows[-1][1], rows[-1][2]], self.rows + len(rows)

    def save(self) -> None:
        """Keep the curves in the run's folder, if that is there."""
        with self._lock:
            if self._stamp is None or not self._path.parent.is_dir():
                return
            facts = json.dumps({"stamp": self._stamp, "sums": list(self._sums), "rows": self.rows, "keys": self.keys})
            arrays = {f"curve.{key}": thinned(curve.points) for key, curve in self.curves.items()}
            half = self._path.with_name(f".{_FILE}.{os.getpid()}-{threading.get_ident()}")
            with open(half, "wb") as file:
                np.savez(file, **arrays, facts=facts)
            os.replace(half, self._path)

    def _load(self) -> None:
        """Take what the run's folder has; a file that is missing or damaged is made again from the store."""
        try:
            with np.load(self._path) as found:
                facts = json.loads(str(found["facts"]))
                self.curves = {
                    key.removeprefix("curve."): Curve(found[key]) for key in found.files if key.startswith("curve.")
                }
            self._stamp, self._sums, self.rows = facts["stamp"], np.array(facts["sums"]), facts["rows"]
            self.keys = facts["keys"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            self._forget()


class Curves:
    """The curves of the `keep` runs that were asked for last. Thread-safe."""

    def __init__(self, home: Home, store: Store, keep: int = MOST):
        self._home, self._store, self._keep = home, store, keep
        self._runs: OrderedDict[str, RunCurves] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run_id: str) -> RunCurves:
        """The curves of a run, as far as they have been read; see `RunCurves.read`."""
        with self._lock:
            found = self._runs.get(run_id) or RunCurves(self._home, self._store, run_id)
            self._runs[run_id] = found
            self._runs.move_to_end(run_id)
            while len(self._runs) > self._keep:
                self._runs.popitem(last=False)
        return found


def keep(home: Home, store: Store, run_id: str) -> None:
    """Read the curves of a run and keep them in its folder."""
    found = RunCurves(home, store, run_id)
    found.read()
    found.save()


def parsed(text: str) -> dict:
    """The values of a row of metrics."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # NaN and Infinity, which a loss can become
        return json.loads(text)


def _number(value) -> float:
    return value if isinstance(value, int | float) else np.nan

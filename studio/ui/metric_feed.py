"""What a plot of any length needs: a bounded envelope per series that never loses a spike, and a feed that fills them.

An `Envelope` cuts a series into buckets of equal numbers of points and keeps, of each, the lowest and the highest point
with their exact x. When there are too many buckets, neighbours merge and the stride doubles. A `Feed` fills one envelope
for each metric of a run, reading only new rows of the store, once for all viewers. Neither knows anything about Gradio,
about drawing, or about what a metric means.

    answer  {"epoch": int, "more": bool, "series": {name: change}}
    change  {"n": points so far, "d": how often the stride has doubled, "f": first bucket that follows, "b": [bucket, …],
             "l": [x, y] of the newest point}
    bucket  [] or [dx, y] or [dx, y, dx, y]: its points in order of x, each x as the distance to the point before it
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict, deque

from studio.store import Store

CAPACITY = 1024
_FAST = 20  # buckets a second above which half the capacity has to do: keeps a live viewer under 2 kB/s
_WINDOW = 64  # buckets over which that speed is measured


class Envelope:
    """At most `CAPACITY` buckets over any number of (x, y); appending costs the same however long the series is."""

    def __init__(self):
        self.count = 0
        self.doublings = 0
        self.buckets: list[list[float] | None] = []  # [x, y of the lowest, x, y of the highest point]
        self.last: tuple[float, float] | None = None
        self._opened: deque[float] = deque(maxlen=_WINDOW)

    def append(self, x: float, y: float, when: float | None = None) -> None:
        """Add a point; `when` (seconds) lets a fast series get by with fewer buckets. A y that is not finite is only counted."""
        buckets = self.buckets
        if self.count == len(buckets) << self.doublings:
            if len(buckets) >= self._room(when):
                self._double()
            if self.count == len(self.buckets) << self.doublings:
                self.buckets.append(None)
                if when is not None:
                    self._opened.append(when)
            buckets = self.buckets
        self.count += 1
        if not math.isfinite(y):
            return
        self.last = (x, y)
        bucket = buckets[-1]
        if bucket is None:
            buckets[-1] = [x, y, x, y]
        elif y < bucket[1]:
            bucket[0], bucket[1] = x, y
        elif y > bucket[3]:
            bucket[2], bucket[3] = x, y

    def _room(self, when: float | None) -> int:
        fast = when is not None and len(self._opened) == _WINDOW and when - self._opened[0] < _WINDOW / _FAST
        return CAPACITY // 2 if fast else CAPACITY

    def _double(self) -> None:
        """Merge neighbours (0, 1), (2, 3) …; a viewer does the same with what it has, so nothing is sent twice."""
        old = [*self.buckets, None] if len(self.buckets) % 2 else self.buckets
        self.buckets = [_merge(old[i], old[i + 1]) for i in range(0, len(old), 2)]
        self.doublings += 1
        self._opened.clear()

    def since(self, have: int) -> dict | None:
        """What a viewer that has seen the first `have` points lacks; None if nothing. 0 asks for everything."""
        if have == self.count:
            return None
        first = max(0, min(have, self.count)) >> self.doublings
        before, sent = 0, []
        for bucket in self.buckets[first:]:
            flat = []
            for x, y in _points(bucket):
                flat += [_short(x - before), _short(y)]
                before = x
            sent.append(flat)
        last = [_short(value) for value in self.last] if self.last else []
        return {"n": self.count, "d": self.doublings, "f": first, "b": sent, "l": last}


def _merge(a: list[float] | None, b: list[float] | None) -> list[float] | None:
    if a is None or b is None:
        return a or b
    return [*(a[:2] if a[1] <= b[1] else b[:2]), *(a[2:] if a[3] >= b[3] else b[2:])]


def _points(bucket: list[float] | None) -> list[tuple[float, float]]:
    """The one or two points of a bucket, in order of x."""
    if bucket is None:
        return []
    low, high = (bucket[0], bucket[1]), (bucket[2], bucket[3])
    return [low] if low == high else sorted((low, high))


def _short(value: float) -> float | int:
    """Six significant digits (decimals would turn a learning-rate curve into stairs); whole numbers stay exact."""
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.6g}")


class Feed:
    """The envelopes of the runs that someone is looking at, shared by all viewers. Safe to call from any thread."""

    def __init__(self, store: Store, keep: int = 16):
        self._store, self._keep = store, keep
        self._runs: OrderedDict[str, _RunSeries] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, run_id: str, epoch: int = 0, have: dict[str, int] | None = None) -> dict:
        """What a viewer lacks that has seen `have[name]` points of each series in this `epoch`.

        Another epoch in the answer means that rows were rewritten (a resumed run): the viewer starts afresh.
        `more` means that a long run is still being read, and that asking again soon is worth it.
        """
        with self._lock:
            run = self._runs.setdefault(run_id, _RunSeries(self._store, run_id))
            self._runs.move_to_end(run_id)
            while len(self._runs) > self._keep:
                self._runs.popitem(last=False)
        return run.answer(epoch, have or {})

    def recipe(self, run_id: str) -> dict:
        """The run's recipe; {} where there is no such run."""
        run = self._store.run(run_id)
        return run["recipe"] if run else {}


class _RunSeries:
    """One run's envelopes and how far its rows have been read."""

    every = 0.3  # seconds: many viewers cause no more reading than one
    chunk = 20_000  # rows at a time
    patience = 0.5  # seconds of reading after which a viewer is answered "more"

    def __init__(self, store: Store, run_id: str):
        self._store, self._run_id = store, run_id
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._forget()

    def _forget(self) -> None:
        self.epoch = 1 + secrets.randbelow(2**31)  # never that of another window whose page is still open
        self.series: dict[str, Envelope] = {}
        self._last: dict | None = None
        self._behind = False

    def answer(self, epoch: int, have: dict[str, int]) -> dict:
        with self._lock:
            if self._behind or time.monotonic() - self._read_at >= self.every:
                self._read()
            if self._behind:
                return {"epoch": self.epoch, "more": True, "series": {}}
            known = have if epoch == self.epoch else {}
            changes = {name: envelope.since(known.get(name, 0)) for name, envelope in self.series.items()}
            return {
                "epoch": self.epoch,
                "more": False,
                "series": {name: change for name, change in changes.items() if change},
            }

    def _read(self) -> None:
        until = time.monotonic() + self.patience
        while True:
            rows = self._new_rows()
            for row in rows:
                for name, value in row["values"].items():
                    if isinstance(value, int | float):
                        self.series.setdefault(name, Envelope()).append(row["step"], value, row["time"])
                self._last = row
            self._read_at = time.monotonic()
            self._behind = len(rows) >= self.chunk
            if not self._behind or self._read_at > until:
                return

    def _new_rows(self) -> list[dict]:
        """Rows after the last one read. That one is read again, to see whether it still stands.

        A resumed run deletes the rows after its checkpoint and writes them anew; SQLite may give the new rows the old ids,
        so the id alone does not tell: the same id, step and time do.
        """
        if self._last is None:
            return self._store.metrics(self._run_id, 0, self.chunk)
        rows = self._store.metrics(self._run_id, self._last["id"] - 1, self.chunk + 1)
        if rows and all(rows[0][key] == self._last[key] for key in ("id", "step", "time")):
            return rows[1:]
        self._forget()
        return self._store.metrics(self._run_id, 0, self.chunk)

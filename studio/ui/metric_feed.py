"""Metric series for plots: a bounded envelope per series that keeps every spike, and a feed that fills the envelopes.

An `Envelope` divides a series into buckets of equally many points and keeps the lowest and highest point of each with
their exact x. When there are too many buckets, neighbours are merged and the stride (points per bucket) doubles. A
`Feed` fills one envelope for each metric of a run; it reads only new rows of the store, once for all viewers. Neither
depends on Gradio, on how series are drawn, or on the meaning of a metric.

    answer  {"epoch": int, "more": bool, "series": {name: change}, "outline": outline, if the viewer lacks it}
            more: a long run is still being read; the series are a preview from a few of its rows
    outline {"id": int, "schedule": [[step, learning rate], …], "memory": bytes}: what was planned before the first step
    change  {"n": number of points so far, "d": number of stride doublings, "f": index of the first bucket in "b",
             "b": [bucket, …], "l": [x, y] of the newest point}
    bucket  [] or [dx, y] or [dx, y, dx, y]: its points in order of x, dx being the distance to the previous point
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence

from studio.runs.curves import parsed
from studio.store import Store

CAPACITY = 1024  # buckets
_FAST = 20  # buckets per second above which the capacity is halved, to keep a live viewer under 2 kB/s
_WINDOW = 64  # buckets over which that rate is measured
_PREVIEWED = 500  # rows of a long run that are shown before all of them are read


class Envelope:
    """At most `CAPACITY` buckets over a series of any length; the cost of `append` does not depend on the length."""

    def __init__(self):
        self.count = 0
        self.doublings = 0
        self.buckets: list[list[float] | None] = []  # [x, y of the lowest, x, y of the highest point] or None
        self.last: tuple[float, float] | None = None
        self._opened: deque[float] = deque(maxlen=_WINDOW)

    def append(self, x: float, y: float, when: float | None = None) -> None:
        """Add a point; a y that is not finite is only counted.

        `when` is its time in seconds: a series that grows fast is limited to half of `CAPACITY`.
        """
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
        """Merge neighbours (0, 1), (2, 3) …; viewers merge the buckets they have too, so nothing is sent again."""
        old = [*self.buckets, None] if len(self.buckets) % 2 else self.buckets
        self.buckets = [_merge(old[i], old[i + 1]) for i in range(0, len(old), 2)]
        self.doublings += 1
        self._opened.clear()

    def since(self, have: int) -> dict | None:
        """Return the change for a viewer that has the first `have` points, or None if there is none.

        With `have` = 0 the change contains the whole series.
        """
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
    """Return the points of a bucket (at most two) in order of x."""
    if bucket is None:
        return []
    low, high = (bucket[0], bucket[1]), (bucket[2], bucket[3])
    return [low] if low == high else sorted((low, high))


def _short(value: float) -> float | int:
    """Round to six significant digits; whole numbers stay exact.

    Rounding to a number of decimals would turn a learning rate curve into steps.
    """
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.6g}")


class Feed:
    """Envelopes of the `keep` most recently viewed runs, shared by all viewers. Thread-safe."""

    def __init__(self, store: Store, keep: int = 16):
        self._store, self._keep = store, keep
        self._runs: OrderedDict[str, _RunSeries] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, run_id: str, epoch: int = 0, have: dict[str, int] | None = None, outline: int = 0) -> dict:
        """Return the data missing from a viewer that has `have[name]` points of each series in this `epoch`.

        outline: id of the outline that the viewer has.

        A different epoch in the answer means that rows were rewritten (a resumed run): the viewer discards its data.
        `more` means that a long run is still being read and that the viewer should ask again soon; it gets a preview.
        """
        return self._run(run_id).answer(epoch, have or {}, outline)

    def tokens(self, run_id: str) -> tuple[int, float]:
        """Return (tokens trained on so far, the same with their padding) of the run."""
        return self._run(run_id).tokens()

    def curves(self, run_id: str, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        """Return metric → points (step, value) of the run in order of the steps.

        A long series is thinned out: two points of each bucket of its envelope.
        """
        return self._run(run_id).curves(names)

    def _run(self, run_id: str) -> _RunSeries:
        with self._lock:
            run = self._runs.setdefault(run_id, _RunSeries(self._store, run_id))
            self._runs.move_to_end(run_id)
            while len(self._runs) > self._keep:
                self._runs.popitem(last=False)
        return run

    def recipe(self, run_id: str) -> dict:
        """Return the run's recipe; {} if there is no such run."""
        run = self._store.run(run_id)
        return run["recipe"] if run else {}


class _RunSeries:
    """The envelopes of one run, and the position up to which its rows have been read."""

    every = 0.3  # seconds between reads of the store, independent of the number of viewers
    chunk = 20_000  # rows per query
    patience = 0.5  # seconds of reading after which a viewer gets the answer "more"

    def __init__(self, store: Store, run_id: str):
        self._store, self._run_id = store, run_id
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._forget()

    def _forget(self) -> None:
        # Random, so that it differs from the epoch of an earlier server whose page is still open.
        self.epoch = 2 + secrets.randbelow(2**31)
        self.series: dict[str, Envelope] = {}
        self.seen = [0, 0.0]  # tokens without and with padding
        self.outline: dict = {"id": 0}
        self._last: tuple[int, int, float] | None = None  # id, step and time of the last row read
        self._behind = False
        self._preview: dict[str, Envelope] = {}  # of a few rows, while a long run is being read

    def _refresh(self) -> None:
        """Read what is new, if the last time is `every` seconds ago. The lock must be held."""
        if self._behind or time.monotonic() - self._read_at >= self.every:
            self._read()

    def tokens(self) -> tuple[int, float]:
        with self._lock:
            self._refresh()
            return self.seen[0], self.seen[1]

    def answer(self, epoch: int, have: dict[str, int], outline: int) -> dict:
        with self._lock:
            self._refresh()
            if self._preview:
                # The epoch before the real one, so that a viewer discards the preview for what comes after it.
                return {"epoch": self.epoch - 1, "more": True, **_changes(self._preview, epoch == self.epoch - 1, have)}
            if self._behind:
                return {"epoch": self.epoch, "more": True, "series": {}}
            return {
                "epoch": self.epoch,
                "more": False,
                **_changes(self.series, epoch == self.epoch, have),
                **({"outline": self.outline} if self.outline["id"] != outline else {}),
            }

    def curves(self, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        with self._lock:
            self._refresh()
            found = {name: self.series[name] for name in names if name in self.series}
            return {
                name: [point for bucket in envelope.buckets for point in _points(bucket)]
                for name, envelope in found.items()
            }

    def _read_outline(self) -> None:
        for event in self._store.events(self._run_id, kind="schedule", after=self.outline["id"], limit=1):
            plans = self._store.events(self._run_id, kind="plan", limit=1)
            planned = plans[-1]["data"].get("memory", 0) if plans else 0
            self.outline = {"id": event["id"], "schedule": event["data"]["points"], "memory": planned}

    def _read(self) -> None:
        self._read_outline()
        until = time.monotonic() + self.patience
        first_time = self._last is None
        while True:
            rows = self._new_rows()
            for _, step, when, text in rows:
                values = parsed(text)
                for name, value in values.items():
                    if isinstance(value, int | float):
                        self.series.setdefault(name, Envelope()).append(step, value, when)
                tokens = values.get("tokens", 0)
                self.seen[0] += tokens
                self.seen[1] += tokens / (1 - values.get("padding", 0.0)) if tokens else 0
            if rows:
                self._last = tuple(rows[-1])[:3]
            self._read_at = time.monotonic()
            self._behind = len(rows) >= self.chunk
            if self._behind and first_time and not self._preview:
                self._read_preview()
            if not self._behind or self._read_at > until:
                break
        if not self._behind:
            self._preview = {}

    def _read_preview(self) -> None:
        """Read a few rows, evenly spread over the run, to be shown while all of them are being read."""
        first, last = self._store.raw("SELECT min(id), max(id) FROM metrics WHERE run_id=?", self._run_id)[0]
        for at in range(_PREVIEWED):
            start = first + (last - first) * at // (_PREVIEWED - 1)
            for _, step, _, text in self._rows(start, 1):
                for name, value in parsed(text).items():
                    if isinstance(value, int | float):
                        self._preview.setdefault(name, Envelope()).append(step, value)

    def _rows(self, start: int, limit: int) -> list:
        """(id, step, time, values as JSON) of at most `limit` rows from the id `start` on."""
        sql = 'SELECT id, step, time, "values" FROM metrics WHERE run_id=? AND id>=? ORDER BY id LIMIT ?'
        return self._store.raw(sql, self._run_id, start, limit)

    def _new_rows(self) -> list:
        """Return the rows after the last one read; that row is read again to check that it is unchanged.

        A resumed run deletes the rows after its checkpoint and writes new ones, to which SQLite may assign the old ids.
        Therefore the last row counts as unchanged only if its id, step and time are equal; otherwise all series are
        reset and read again.
        """
        if self._last is None:
            return self._rows(0, self.chunk)
        rows = self._rows(self._last[0], self.chunk + 1)
        if rows and tuple(rows[0])[:3] == self._last:
            return rows[1:]
        self._forget()
        return self._rows(0, self.chunk)


def _changes(series: dict[str, Envelope], same: bool, have: dict[str, int]) -> dict:
    """{"series": change of each one that has any} for a viewer that has `have` points of each; same: of this epoch."""
    found = {name: envelope.since(have.get(name, 0) if same else 0) for name, envelope in series.items()}
    return {"series": {name: change for name, change in found.items() if change}}

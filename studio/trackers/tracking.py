"""Feed the trackers of a run from a thread, so that none of them can slow down, stop or fail the training.

    with Tracking(job, ["tensorboard"], about) as tracking:
        tracking.log(step, {"loss": 1.2})

A tracker that raises, or that cannot keep up, is named once in the run's log and gets nothing more.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Sequence
from types import TracebackType

from studio.jobs.job import Job, Stopped
from studio.trackers import title
from studio.trackers.sinks import SINKS, About, Sink
from studio.words import Sentence

_WAITING = 10_000  # steps that may wait for a tracker
_LAST_SECONDS = 20.0  # for which the end of a run waits for a tracker


class Tracking:
    """The trackers `keys` of one run. first_step: the step from which the run goes on; set before the first `log`."""

    def __init__(self, job: Job, keys: Sequence[str], about: About):
        self._job, self._about = job, about
        self._feeders = [_Feeder(job, key, about) for key in keys]
        self.first_step = 0

    def log(self, step: int, values: dict[str, float]) -> None:
        """Hand over the metrics of a step; returns at once. What is no finite number is left out."""
        finite = {
            name: value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
        }
        for feeder in self._feeders:
            feeder.put(step, finite, self.first_step)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        state = "done" if kind is None else "stopped" if issubclass(kind, Stopped) else "failed"
        for feeder in self._feeders:
            feeder.end(state)
        for feeder in self._feeders:
            feeder.wait()


class _Feeder:
    """One tracker and the thread that feeds it; the thread starts with the first step."""

    def __init__(self, job: Job, key: str, about: About):
        self._job, self._key, self._about = job, key, about
        self._waiting: queue.Queue[tuple | str] = queue.Queue(_WAITING)
        self._failed = False
        self._thread: threading.Thread | None = None

    def put(self, step: int, values: dict[str, float], first_step: int) -> None:
        if self._failed:
            return
        if self._thread is None:
            # A daemon: a tracker that hangs must not keep the worker alive.
            self._thread = threading.Thread(target=self._feed, args=(first_step,), name=self._key, daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((step, values))
        except queue.Full:
            self._give_up(Sentence("it is too slow for this run"))

    def end(self, state: str) -> None:
        if self._thread is None or self._failed:
            return
        try:
            self._waiting.put_nowait(state)
        except queue.Full:
            self._give_up(Sentence("it is too slow for this run"))

    def wait(self) -> None:
        if self._thread is None or self._failed:
            return
        self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive():
            self._give_up(Sentence("it did not take the last figures in {seconds} seconds", seconds=_LAST_SECONDS))

    def _feed(self, first_step: int) -> None:
        # Whatever another program's code raises, sys.exit included, ends the tracking and nothing else.
        try:
            sink: Sink = SINKS[self._key](self._about, first_step)
            while not self._failed:
                item = self._waiting.get()
                if isinstance(item, str):
                    sink.close(item)
                    return
                sink.log(*item)
        except BaseException as error:
            self._give_up(Sentence("{error}", error=f"{type(error).__name__}: {error}"[:300]))

    def _give_up(self, reason: Sentence) -> None:
        if self._failed:
            return
        self._failed = True
        self._job.log(
            Sentence(
                "{tracker} takes no more figures of this run ({reason}). "
                "The run goes on, and its figures are kept here.",
                tracker=title(self._key),
                reason=reason,
            )
        )

"""Taking turns: a lock that serves in order of arrival, so that answers share one model token by token.

It knows nothing about models.
"""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A lock handed over in order of arrival. A plain `threading.Lock` may give the same thread turn after turn."""

    def __init__(self):
        self._guard = threading.Lock()
        self._locked = False
        self._waiters: deque[threading.Event] = deque()

    def acquire(self) -> None:
        with self._guard:
            if not self._locked:
                self._locked = True
                return
            mine = threading.Event()
            self._waiters.append(mine)
        mine.wait()

    def release(self) -> None:
        """To whoever has waited longest, if anybody waits."""
        with self._guard:
            if self._waiters:
                self._waiters.popleft().set()  # stays taken: it is theirs now
            else:
                self._locked = False

    def has_waiters(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiters)

    def __enter__(self) -> FairLock:
        self.acquire()
        return self

    def __exit__(self, *_) -> None:
        self.release()

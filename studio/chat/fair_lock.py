"""A lock that is granted in order of arrival, so that concurrent answers share one model token by token.

Knows nothing about models.
"""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A first-in, first-out lock. A plain `threading.Lock` may give the same thread the lock again and again."""

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
        """Pass the lock to the thread that has waited longest, if any waits."""
        with self._guard:
            if self._waiters:
                self._waiters.popleft().set()  # stays locked: the waiter owns it now
            else:
                self._locked = False

    def has_waiters(self) -> bool:
        """Whether any thread waits for the lock."""
        return bool(self._waiters)

    def __enter__(self) -> FairLock:
        self.acquire()
        return self

    def __exit__(self, *_) -> None:
        self.release()

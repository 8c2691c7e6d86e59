"""Taking turns: a lock that serves in order of arrival, so that answers share one model token by token.

It knows nothing about models.
"""

from __future__ import annotations

import threading
from collections import deque


class Turn:
    """A lock handed over in order of arrival. A plain `threading.Lock` may give the same thread turn after turn."""

    def __init__(self):
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def take(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def give(self) -> None:
        """To whoever has waited longest, if anybody waits."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()  # stays taken: it is theirs now
            else:
                self._taken = False

    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def __enter__(self) -> Turn:
        self.take()
        return self

    def __exit__(self, *_) -> None:
        self.give()

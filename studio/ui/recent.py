"""What many viewers ask for at the same time is made once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any


class Recent:
    """A function whose results are used again for `seconds`, for each combination of arguments. Thread-safe.

    Who asks while a result is being made waits for that one. Results that are older are forgotten.
    """

    def __init__(self, function: Callable, seconds: float):
        self._function, self._seconds = function, seconds
        self._made: dict[tuple, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Hashable):
        with self._lock:
            now = time.monotonic()
            self._made = {key: each for key, each in self._made.items() if now - each[0] < self._seconds}
            if arguments not in self._made:
                found = self._function(*arguments)
                self._made[arguments] = (time.monotonic(), found)
            return self._made[arguments][1]

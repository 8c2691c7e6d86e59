"""What the window does while nobody looks at its page: next to nothing.

A page asks something every few seconds while it is visible, and nothing while it is hidden, so the time of the newest
request says whether somebody looks. Gradio's queue looks for events a thousand times a second; it may do so less often.
"""

from __future__ import annotations

import math
import time

import gradio as gr

from studio.jobs import client
from studio.store import Store

VIEWED = 60.0  # seconds after a request for which somebody counts as looking
_QUICK, _SLOW = 0.02, 0.25  # seconds between looks of Gradio's queue, in which only streaming handlers wait
_PROGRESS = 1.0  # the same for `gr.Progress`, which no handler uses
_newest = 0.0  # time.monotonic() of the newest request


class NoteRequests:
    """Middleware that notes when the newest request came."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        global _newest
        if scope["type"] == "http":
            _newest = time.monotonic()
        await self.app(scope, receive, send)


class Attention:
    """Whether somebody looks, told to Gradio's queue and to the supervisor; `tell` is to be called every second."""

    def __init__(self, demo: gr.Blocks, store: Store):
        self._queue, self._store = demo._queue, store
        self._told = -math.inf
        self._queue.progress_update_sleep_when_free = _PROGRESS

    def tell(self) -> None:
        """Raises sqlite3.OperationalError where the store cannot be written; it is told again at the next call."""
        now = time.monotonic()
        looks = bool(_newest) and now - _newest < VIEWED
        self._queue.sleep_when_free = _QUICK if looks else _SLOW
        if _newest > self._told and now - self._told > VIEWED:
            client.note_view(self._store)
            self._told = now

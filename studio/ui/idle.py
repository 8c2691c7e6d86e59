"""What the window does while nobody looks at its page: next to nothing.

A page asks something every few seconds while it is visible, and hardly anything while it is hidden, so requests that
follow each other say that somebody looks. Gradio's queue looks for events a thousand times a second, and its server
whether it should end ten times; both may do so less often.
"""

from __future__ import annotations

import asyncio
import math
import time

import gradio as gr
from gradio.http_server import Server

from studio.jobs import client
from studio.store import Store

VIEWED = 60.0  # seconds after such a request for which somebody counts as looking
_QUICK, _SLOW = 0.02, 1.0  # seconds between looks of Gradio's queue, in which only streaming handlers wait
_PROGRESS = 5.0  # the same for `gr.Progress`, which no handler uses
_SERVER = 0.5  # seconds between looks of the server whether it should end
_FOLLOWS = 10.0  # seconds; a hidden page asks less often
_before = _newest = 0.0  # time.monotonic() of the newest request, and of the newest one that followed another


class NoteRequests:
    """Middleware that notes when requests of a visible page come."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        global _before, _newest
        if scope["type"] == "http":
            now = time.monotonic()
            if now - _before < _FOLLOWS:
                _newest = now
            _before = now
        await self.app(scope, receive, send)


def calm_server() -> None:
    """Let the servers that Gradio starts look for their end every `_SERVER` seconds."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # 0: also renew the date that it sends, which is due every second
            await asyncio.sleep(_SERVER)

    Server.main_loop = main_loop


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

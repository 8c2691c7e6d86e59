"""Middleware that keeps the finished HTML of the pages.

Gradio (6.31) describes all components of a page anew for each visitor, which takes half a second of a core and more,
although the description depends on nothing but the address: what a visitor may see is asked for by the page's events.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection

from starlette.datastructures import Headers, QueryParams

_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto", "x-gradio-server")
_OWN = ("deep_link", "all_endpoints")  # parameters of the query with which Gradio describes another page
_MOST = 16  # answers kept, so that invented hosts do not fill the memory


class PageCache:
    """Answers GET requests for `pages` with what `app` answered the first time."""

    def __init__(self, app, pages: Collection[str]):
        self.app, self.pages = app, pages
        self.kept: OrderedDict[tuple, list[dict]] = OrderedDict()
        self.lock = asyncio.Lock()

    async def __call__(self, scope, receive, send):
        key = self._key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        async with self.lock:  # of many visitors at once, the first one has the page made
            messages = self.kept.pop(key, None) or await self._answer(scope, receive)
            if _is_for_all(messages[0]):
                self.kept[key] = messages
            if len(self.kept) > _MOST:
                self.kept.popitem(last=False)
        for message in messages:
            await send(message)

    def _key(self, scope) -> tuple | None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in self.pages:
            return None
        query = QueryParams(scope["query_string"])
        if any(name in query for name in _OWN):
            return None
        headers = Headers(scope=scope)
        address = tuple(headers.get(name, "") for name in _ADDRESS)
        zipped = "gzip" in headers.get("accept-encoding", "")
        return scope["path"], scope.get("root_path", ""), scope["scheme"], address, zipped

    async def _answer(self, scope, receive) -> list[dict]:
        messages: list[dict] = []

        async def keep(message):
            messages.append(message)

        await self.app(scope, receive, keep)
        return messages


def _is_for_all(start: dict) -> bool:
    """Whether an answer is the finished page, without a cookie that would sign in everybody as the first visitor."""
    return start["status"] == 200 and all(name.lower() != b"set-cookie" for name, _ in start["headers"])

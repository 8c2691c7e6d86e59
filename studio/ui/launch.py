"""Secure launch of the web server: loopback only, and behind the guards of `studio.ui.guards`.

On a Space it listens on all interfaces. It also serves the Plotly script that the plots need from the installed
package, redirects a browser to the page in its language, and prints the address. It does not depend on what the page
does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
from pathlib import Path
from urllib.parse import parse_qs

import gradio as gr
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, RedirectResponse
from starlette.routing import Route

from studio.home import ASSETS
from studio.ui import frame, notices
from studio.ui.access import on_space
from studio.ui.guards import guards
from studio.ui.idle import NoteRequests, calm_server
from studio.ui.page_cache import PageCache
from studio.ui.theme import style, theme
from studio.words import LANGUAGES, StudioError

MAX_UPLOAD = "200mb"
FIRST_PORT = 7860
PLOTLY = f"studio-static/plotly-{importlib.metadata.version('plotly')}.min.js"  # relative to the page


class Compress:
    """Middleware that compresses pages and handler responses with gzip.

    Gradio compresses only paths that look like file names, so neither the pages nor the plots' data.
    """

    def __init__(self, app):
        self.app, self.zipping = app, GZipMiddleware(app, minimum_size=300, compresslevel=5)

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        ours = path in _PAGES or path.startswith(("/gradio_api/component_server", "/gradio_api/run/"))
        await (self.zipping if ours else self.app)(scope, receive, send)


_PAGES = {"/", *(f"/{language}" for language in LANGUAGES)}


class ChooseLanguage:
    """Middleware that redirects `/` to the page in the browser's language, unless `?lang=` says otherwise."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] == "/":
            query = scope["query_string"].decode("latin-1")
            asked = parse_qs(query).get("lang", [""])[-1]
            language = asked if asked in LANGUAGES else preferred(Headers(scope=scope).get("accept-language", ""))
            if language != "en":
                place = language + (f"?{query}" if query else "")
                headers = {"Vary": "Accept-Language", "Cache-Control": "no-store"}
                await RedirectResponse(place, status_code=307, headers=headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def preferred(accept: str) -> str:
    """Return the most preferred supported language of an Accept-Language header; English if there is none."""
    wishes = []
    for place, part in enumerate(accept.split(",")):
        name, _, quality = part.strip().partition(";q=")
        try:
            wishes.append((-float(quality or 1), place, name.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for quality, _, name in sorted(wishes) if name in LANGUAGES and quality < 0), "en")


def _plotly(request) -> FileResponse:
    package = Path(importlib.util.find_spec("plotly").submodule_search_locations[0])  # located without importing it
    file = package / "package_data" / "plotly.min.js"
    return FileResponse(
        file, media_type="text/javascript", headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )


def free_port(first: int = FIRST_PORT) -> int:
    """Return the first free port of the 100 from `first` on. Raises `StudioError` if all are in use."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StudioError("No free port between {first} and {last}: choose one with --port.", first=first, last=first + 99)


def launch(demo: gr.Blocks, *, port: int | None = None, open_browser: bool = False, block: bool = True) -> str:
    """Serve `demo` and return its address; with `block`, return only after the server is stopped (Ctrl+C)."""
    calm_server()
    space = on_space()
    asked = port or int(os.environ.get("GRADIO_SERVER_PORT") or 0)
    middleware = [
        *guards(),
        Middleware(NoteRequests),
        Middleware(ChooseLanguage),
        Middleware(PageCache, pages=_PAGES),
        Middleware(Compress),
    ]
    _, address, _ = demo.launch(
        server_name="0.0.0.0" if space else "127.0.0.1",
        server_port=FIRST_PORT if space else asked or free_port(),
        share=False,
        strict_cors=True,
        max_file_size=MAX_UPLOAD,
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        footer_links=["settings"],
        allowed_paths=[str(ASSETS / "ui")],
        app_kwargs={
            "middleware": middleware,
            "routes": [Route(f"/{PLOTLY}", _plotly)],
            "docs_url": None,
            "redoc_url": None,
        },
        theme=theme(),
        head=style() + notices.script() + frame.script(),
        favicon_path=ASSETS / "ui" / "icon.svg",
        i18n=None,
        inbrowser=open_browser,
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"Delta Studio: {address}", flush=True)
    if block:
        demo.block_thread()
    return address

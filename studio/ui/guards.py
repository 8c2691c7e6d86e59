"""Middleware that protects the page from other sites: known host names, own requests only, and response headers.

    guards()   all of it, in the order in which a request passes

This module does not depend on what the page does.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from studio.ui.access import on_space

_LOOPBACK = {"127.0.0.1", "localhost"}  # other local programs have the same host name, so the port must match too
_SPACE_FRAMES = ("https://huggingface.co", "https://*.hf.space")  # show a Space's page inside their own
_POLICY = {
    "default-src": ("'self'",),
    # Gradio starts from inline scripts, and compiles the handlers given as `js=…`.
    "script-src": ("'self'", "'unsafe-inline'", "'unsafe-eval'", "blob:"),
    "style-src": ("'self'", "'unsafe-inline'"),
    "img-src": ("'self'", "data:", "blob:"),
    "media-src": ("'self'", "data:", "blob:"),
    "font-src": ("'self'", "data:"),
    "connect-src": ("'self'", "data:", "blob:"),
    "worker-src": ("'self'", "blob:"),
    "object-src": ("'none'",),
    "base-uri": ("'self'",),
    "form-action": ("'self'",),
}


def guards() -> list[Middleware]:
    """The middleware of the page's server."""
    hosts = trusted_hosts()
    return [
        Middleware(SecurityHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(SameOrigin, hosts=hosts),
    ]


def trusted_hosts() -> list[str]:
    """Return the host names accepted in requests.

    Any other host name may belong to a foreign site that resolves to this server (DNS rebinding).
    """
    named = [os.environ.get("SPACE_HOST", ""), *os.environ.get("DELTA_STUDIO_HOSTS", "").split(",")]
    return ["127.0.0.1", "localhost", *(name.strip() for name in named if name.strip())]


class SecurityHeaders:
    """Middleware that tells the browser to load and to send only from and to this server.

    Text that a model, a data file or an adapter's name brings onto the page can then neither load a picture from
    another site (which would carry data out in its address) nor send anything there. Other sites cannot show the page
    in a frame; on a Space, the Hub can.
    """

    def __init__(self, app):
        self.app = app
        frames = ("'self'", *(_SPACE_FRAMES if on_space() else ()))
        policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in _POLICY.items())
        self.headers = {
            "Content-Security-Policy": f"{policy}; frame-ancestors {' '.join(frames)}",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, send_guarded)


class SameOrigin:
    """Middleware that rejects requests sent by pages of other sites.

    Gradio's upload and server functions accept such requests (measured).
    """

    def __init__(self, app, hosts: list[str]):
        self.app, self.hosts = app, set(hosts)

    async def __call__(self, scope, receive, send):
        if scope["type"] in ("http", "websocket") and not self._ours(scope):
            refusal = PlainTextResponse("This request comes from another site.", status_code=403)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _ours(self, scope) -> bool:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None:
            source = urlsplit(origin)
            return (
                source.netloc != ""
                and source.netloc == headers.get("host")
                or source.hostname in self.hosts - _LOOPBACK
            )
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        return reads or headers.get("sec-fetch-site", "none") in ("same-origin", "none")

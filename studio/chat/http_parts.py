"""What the chat server's handlers share: errors in OpenAI's form, the body of a request, joined pieces of a stream.

Knows nothing about models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from studio.chat.batching import TokenLogprob
from studio.chat.openai_requests import RequestError
from studio.words import StudioError

_MAX_REQUEST_BYTES = 32_000_000
_JOIN_SECONDS = 0.02  # within which pieces of text are sent as one


class Pieces:
    """Joins the pieces of text that come within a moment, so that a fast model is not slowed by sending each token."""

    def __init__(self, put: Callable):
        self._put, self._text, self._sent = put, "", 0.0

    def put(self, event: str | TokenLogprob) -> None:
        if not isinstance(event, str):
            self.flush()
            self._put(event)
            return
        self._text += event
        if time.monotonic() - self._sent > _JOIN_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._text:
            self._put(self._text)
            self._text, self._sent = "", time.monotonic()


def sse_line(value: dict) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


_ERROR_TYPES = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}


def error_body(error: StudioError) -> dict:
    """OpenAI's error object, with the sentence for the studio's own page."""
    return {
        "message": str(error.sentence),
        "type": _ERROR_TYPES.get(getattr(error, "status", 400), "invalid_request_error"),
        "param": getattr(error, "param", None),
        "code": getattr(error, "code", None),
        "sentence": error.sentence.to_json(),
    }


def failed(error: StudioError) -> JSONResponse:
    status = getattr(error, "status", 400)
    headers = {"Retry-After": "1"} if status == 429 else {}
    return JSONResponse({"error": error_body(error)}, status_code=status, headers=headers)


async def no_route(request: Request, error) -> Response:
    sentence = "There is nothing at {path} here; the server knows /v1/models, /v1/chat/completions and /v1/completions."
    return failed(RequestError(sentence, status=error.status_code, code="unknown_url", path=request.url.path))


async def json_body(request: Request) -> dict:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _MAX_REQUEST_BYTES:
            raise RequestError(
                "The request is larger than {limit} MB; send less text.",
                status=413,
                limit=_MAX_REQUEST_BYTES // 1_000_000,
            )
    try:
        body = json.loads(read)
    except (ValueError, RecursionError) as error:
        raise RequestError("The request is not valid JSON.") from error
    if not isinstance(body, dict):
        raise RequestError("The request is not valid JSON.")
    return body

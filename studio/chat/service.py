"""The HTTP side of the chat server: OpenAI's API over an engine, behind a bearer token.

What requests may say is `openai_requests.py`'s, what answers look like `openai_responses.py`'s. Knows nothing about
jobs and clients.

    GET  /v1/models             "base" and the adapters of this base
    GET  /v1/models/{model}     one of them
    POST /v1/chat/completions   messages → answer, as one JSON object or, with "stream", as server-sent events
    POST /v1/completions        text → its continuation, likewise
    POST /v1/classify           text or picture → the probability of each class; only with the head "classification"
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.chat import openai_responses
from studio.chat.answer_parts import AnswerParts
from studio.chat.batching import MAX_ROWS, TokenLogprob
from studio.chat.classifier import Classifiers
from studio.chat.engine import AnswerOptions, Engine, Outcome, server_stopped
from studio.chat.openai_requests import CompletionRequest, RequestError, chat_request, text_request
from studio.chat.tool_calls import ToolSupport, tool_support
from studio.home import PREVIEW
from studio.jobs import failure_reasons
from studio.words import Sentence, StudioError

MAX_WAITING = 64  # choices that may wait while MAX_ROWS are answered; further requests get status 429
_MAX_REQUEST_BYTES = 32_000_000
_JOIN_SECONDS = 0.02  # within which pieces of text are sent as one
_KEEPALIVE_SECONDS = 5.0  # of silence in a stream, after which a keep-alive comment is sent


@dataclass(frozen=True)
class Failure:
    """An error on the way to an answer, with its HTTP status."""

    sentence: Sentence
    status: int = 400


class Service:
    """The HTTP side: requests → engine calls in threads, answers → JSON or server-sent events.

    adapters: the rows of the library that are offered. home: the folder whose paths error messages leave out.
    cors_origins: web pages (origins) that may call the server from a browser; none by default.
    """

    def __init__(
        self,
        engine: Engine | Classifiers,
        token: str,
        adapters: Callable[[], list[dict]],
        home,
        cors_origins: tuple[str, ...] = (),
    ):
        self.engine, self.token, self.adapters, self.home = engine, token, adapters, home
        self.pool = ThreadPoolExecutor(MAX_ROWS, thread_name_prefix="answer")
        self.shutting_down = threading.Event()
        self.active_requests = self.active_choices = 0
        self.last_active = time.monotonic()
        own = (
            [Route("/v1/classify", self.classify, methods=["POST"])]
            if isinstance(engine, Classifiers)
            else [
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.complete, methods=["POST"]),
            ]
        )
        models = [Route("/v1/models", self.models), Route("/v1/models/{model:path}", self.model)]
        app = self._require_token(
            Starlette(routes=[*models, *own], exception_handlers={404: _no_route, 405: _no_route})
        )
        if cors_origins:
            app = CORSMiddleware(app, allow_origins=cors_origins, allow_methods=["*"], allow_headers=["*"])
        self.app = app

    def idle_seconds(self) -> float:
        """Seconds since the last request ended."""
        return 0.0 if self.active_requests else time.monotonic() - self.last_active

    def shut_down(self) -> None:
        """End every answer in progress, with an error message to its client."""
        self.shutting_down.set()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _require_token(self, app):
        """`app` behind the bearer token; also counts the requests in progress."""
        expected = f"Bearer {self.token}".encode()

        async def guard(scope, receive, send):
            given = dict(scope.get("headers") or []).get(b"authorization", b"")
            if scope["type"] != "http" or not secrets.compare_digest(given, expected):
                error = RequestError(
                    "This server requires its key: send the header “Authorization: Bearer KEY”.",
                    status=401,
                    code="invalid_api_key",
                )
                return await _failed(error)(scope, receive, send)
            self.active_requests += 1
            try:
                return await app(scope, receive, send)
            finally:
                self.active_requests -= 1
                self.last_active = time.monotonic()

        return guard

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": await asyncio.to_thread(self._models)})

    async def model(self, request: Request) -> Response:
        try:
            asked = await asyncio.to_thread(self._adapter_of, request.path_params["model"])
        except StudioError as error:
            return _failed(error)
        found = await asyncio.to_thread(self._models)
        return JSONResponse(next(entry for entry in found if entry["id"] == (asked or "base")))

    def _models(self) -> list[dict]:
        named = [
            ("base", self.engine.name, 0.0),
            *((row["id"], row["name"], row["created"]) for row in self.adapters()),
        ]
        return [
            {"id": id, "object": "model", "created": int(created), "owned_by": "studio", "name": name}
            for id, name, created in named
        ]

    def _adapter_of(self, model: str) -> str | None:
        """The adapter's id for the name of a model in a request: "base" or the base model's name (None), an adapter's
        id, or its name where no other has it.
        """
        if model in ("", "base", self.engine.name):
            return None
        if model.startswith(PREVIEW):  # answers, but is not listed
            return model
        rows = self.adapters()
        found = [row["id"] for row in rows if row["id"] == model] or [row["id"] for row in rows if row["name"] == model]
        if len(found) == 1:
            return found[0]
        raise RequestError(
            "There is no model '{name}' here; GET /v1/models lists them."
            if not found
            else "Several adapters have the name '{name}'; use the id that GET /v1/models shows.",
            status=404,
            code="model_not_found",
            param="model",
            name=model,
        )

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, chat_request)

    async def complete(self, request: Request) -> Response:
        return await self._answer(request, text_request)

    async def classify(self, request: Request) -> Response:
        """{"model": adapter id, "input": text, or "picture": base64} → {"labels", "probabilities", "multi_label",
        "sets"}
        """
        try:
            body = await _body(request)
            given = (
                str(body.get("model")),
                str(body.get("input") or ""),
                base64.b64decode(str(body.get("picture") or "")),
            )
            return JSONResponse(await asyncio.to_thread(self.engine.classify, *given))
        except StudioError as error:
            return _failed(error)
        except Exception as error:  # any error is sent to the client, and the server continues
            return _failed(RequestError(failure_reasons.reason_of_exception(error, self.home)))

    async def _answer(self, request: Request, read: Callable[[dict], CompletionRequest]) -> Response:
        try:
            asked = read(await _body(request))
            choices = asked.n * len(asked.prompts)
            if self.active_choices + choices > MAX_ROWS + MAX_WAITING:
                raise RequestError(
                    "Too many requests wait already ({count}); try again in a moment.",
                    status=429,
                    code="rate_limit_exceeded",
                    count=self.active_choices,
                )
            adapter = await asyncio.to_thread(self._adapter_of, asked.model)
            support = await asyncio.to_thread(self._tool_support, adapter, asked)
        except StudioError as error:
            return _failed(error)
        frame = openai_responses.Frame(chat=asked.chat, model=adapter or "base")
        parts = [AnswerParts(support.format if support else None) for _ in range(choices)]
        writer = openai_responses.Writer(asked, frame, parts)
        events = self._events(self._runs(adapter, asked, support))
        if asked.stream:
            return StreamingResponse(
                self._as_sse(events, writer), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
            )
        return await self._as_json(request, events, writer)

    def _tool_support(self, adapter: str | None, asked: CompletionRequest) -> ToolSupport | None:
        """What the chat template does with the request's tools, None where it has none. Raises RequestError where they
        cannot be used as asked.
        """
        if not asked.tools:
            return None
        support = tool_support(self.engine.tokenizer_of(adapter))
        if not support.offers:
            raise RequestError(
                "The chat template of this model writes no tools, so it would not see them; leave tools out.",
                param="tools",
            )
        if asked.tool_choice != "auto" and not support.format:
            raise RequestError(
                "How this model writes a tool call is not known here, so a call cannot be forced; use "
                "tool_choice auto.",
                param="tool_choice",
            )
        return support

    def _runs(self, adapter: str | None, asked: CompletionRequest, support: ToolSupport | None) -> list[Callable]:
        """A function for each choice: (put event, cancelled) → Outcome."""

        def run(prompt, choice: int, put: Callable, cancelled: Callable[[], bool]) -> Outcome:
            prefill = ""
            if support and asked.tool_choice != "auto":
                name = "" if asked.tool_choice == "required" else asked.tool_choice
                rendered = self.engine.tokenizer_of(adapter).render(
                    prompt, add_generation_prompt=True, tools=asked.tools
                )
                prefill = support.prefill(rendered, name)
            options = AnswerOptions(
                stop=asked.stop,
                tools=asked.tools,
                prefill=prefill,
                visible_tokens=support.format.marks if support and support.format else (),
                top_logprobs=asked.top_logprobs,
                on_logprob=put,
            )
            if prefill:
                put(prefill)
            ask = self.engine.chat if asked.chat else self.engine.complete
            return ask(adapter, prompt, asked.sampling_of(choice), put, cancelled, options)

        return [
            lambda put, cancelled, prompt=prompt, choice=choice: run(prompt, choice, put, cancelled)
            for prompt in asked.prompts
            for choice in range(asked.n)
        ]

    async def _as_json(self, request: Request, events: AsyncIterator, writer: openai_responses.Writer) -> Response:
        async for at, event in events:
            if isinstance(event, Failure):
                await events.aclose()
                return _failed(RequestError(event.sentence, status=event.status))
            if event is None:
                if await request.is_disconnected():
                    await events.aclose()
                    return Response(status_code=499)
            else:
                writer.take(at, event)
        return JSONResponse(writer.whole())

    async def _as_sse(self, events: AsyncIterator, writer: openai_responses.Writer) -> AsyncIterator[bytes]:
        last_sent = time.monotonic()
        try:
            async for at, event in events:
                if isinstance(event, Failure):
                    yield _line({"error": error_body(RequestError(event.sentence, status=event.status))})
                    return
                if event is None:
                    if time.monotonic() - last_sent > _KEEPALIVE_SECONDS:
                        yield b": alive\n\n"
                        last_sent = time.monotonic()
                    continue
                for chunk in writer.take(at, event):
                    last_sent = time.monotonic()
                    yield _line(chunk)
            for chunk in writer.usage_chunk():
                yield _line(chunk)
            yield b"data: [DONE]\n\n"
        finally:
            await events.aclose()

    async def _events(
        self, runs: list[Callable[[Callable, Callable], Outcome]]
    ) -> AsyncIterator[tuple[int, str | TokenLogprob | None | Failure | Outcome]]:
        """(number of the run, event): pieces of text and log-probabilities, then an Outcome, or a Failure; (0, None) at
        intervals while nothing else comes.

        Closing the iterator (the client has disconnected) stops the answers at their next token.
        """
        disconnected = threading.Event()
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()

        def put(at: int, event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, (at, event))

        def work(at: int, run: Callable) -> None:
            pieces = _Pieces(partial(put, at))
            try:
                outcome = run(pieces.put, lambda: disconnected.is_set() or self.shutting_down.is_set())
                pieces.flush()
                stopped = self.shutting_down.is_set() and outcome.finish == "cancelled"
                put(at, Failure(server_stopped(), 503) if stopped else outcome)
            except StudioError as error:
                put(at, Failure(error.sentence, getattr(error, "status", 400)))
            except Exception as error:  # any error is sent to the client, and the server continues
                put(at, Failure(failure_reasons.reason_of_exception(error, self.home), 500))

        self.active_choices += len(runs)
        try:
            for at, run in enumerate(runs):
                self.pool.submit(work, at, run)
            left = len(runs)
            while left:
                try:
                    event = await asyncio.wait_for(queue.get(), 0.5)
                except TimeoutError:
                    event = (0, Failure(server_stopped(), 503) if self.shutting_down.is_set() else None)
                left -= isinstance(event[1], Outcome | Failure)
                yield event
        except RuntimeError:  # the pool is shut down: the server ends
            yield 0, Failure(server_stopped(), 503)
        finally:
            disconnected.set()
            self.active_choices -= len(runs)


class _Pieces:
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


def _line(value: dict) -> bytes:
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


def _failed(error: StudioError) -> JSONResponse:
    status = getattr(error, "status", 400)
    headers = {"Retry-After": "1"} if status == 429 else {}
    return JSONResponse({"error": error_body(error)}, status_code=status, headers=headers)


async def _no_route(request: Request, error) -> Response:
    sentence = "There is nothing at {path} here; the server knows /v1/models, /v1/chat/completions and /v1/completions."
    return _failed(RequestError(sentence, status=error.status_code, code="unknown_url", path=request.url.path))


async def _body(request: Request) -> dict:
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

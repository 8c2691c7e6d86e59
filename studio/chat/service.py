"""The HTTP side of the chat server: OpenAI's API over an engine, behind a bearer token.

What requests may say is `openai_requests.py`'s, what answers look like `openai_responses.py`'s. Knows nothing about
jobs and clients.

    GET  /v1/models             "base" and the adapters of this base
    GET  /v1/models/{model}     one of them
    POST /v1/chat/completions   messages → answer, as one JSON object or, with "stream", as server-sent events
    POST /v1/completions        text → its continuation, likewise
    POST /v1/compare            a given answer → each token's log-probability under the adapter and under the base
    POST /v1/classify           text or picture → the probability of each class; only with the head "classification"
"""

from __future__ import annotations

import asyncio
import base64
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
from studio.chat.http_parts import Pieces, error_body, failed, json_body, no_route, sse_line
from studio.chat.openai_requests import CompletionRequest, RequestError, chat_request, comparison_request, text_request
from studio.chat.tool_calls import ToolSupport, tool_support
from studio.home import PREVIEW
from studio.jobs import failure_reasons
from studio.words import Sentence, StudioError

MAX_WAITING = 64  # choices that may wait while MAX_ROWS are answered; further requests get status 429
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
                Route("/v1/compare", self.compare, methods=["POST"]),
            ]
        )
        models = [Route("/v1/models", self.models), Route("/v1/models/{model:path}", self.model)]
        app = self._require_token(Starlette(routes=[*models, *own], exception_handlers={404: no_route, 405: no_route}))
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
                return await failed(error)(scope, receive, send)
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
            return failed(error)
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
            body = await json_body(request)
            given = (
                str(body.get("model")),
                str(body.get("input") or ""),
                base64.b64decode(str(body.get("picture") or "")),
            )
            return JSONResponse(await asyncio.to_thread(self.engine.classify, *given))
        except StudioError as error:
            return failed(error)
        except Exception as error:  # any error is sent to the client, and the server continues
            return failed(RequestError(failure_reasons.reason_of_exception(error, self.home)))

    async def compare(self, request: Request) -> Response:
        """{"model", "messages" or "prompt", "answer", "adapter_scale"} → {"tokens": [{"token", "logprob",
        "base_logprob"}]}
        """
        try:
            model, *asked = comparison_request(await json_body(request))
            adapter = await asyncio.to_thread(self._adapter_of, model)
            if adapter is None:
                raise RequestError("Choose an adapter to compare with its base model.", param="model")
            tokens = await asyncio.to_thread(self.engine.compare, adapter, *asked)
        except StudioError as error:
            return failed(error)
        except Exception as error:  # any error is sent to the client, and the server continues
            return failed(RequestError(failure_reasons.reason_of_exception(error, self.home), status=500))
        return JSONResponse(
            {"tokens": [{"token": t.text, "logprob": t.logprob, "base_logprob": t.base_logprob} for t in tokens]}
        )

    async def _answer(self, request: Request, read: Callable[[dict], CompletionRequest]) -> Response:
        try:
            asked = read(await json_body(request))
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
            if asked.continued and (await asyncio.to_thread(self.engine.tokenizer_of, adapter)).read_channels:
                raise RequestError(
                    "This model writes its answers in channels, so one that was cut off cannot be continued; answer "
                    "again with a greater length."
                )
        except StudioError as error:
            return failed(error)
        frame = openai_responses.Frame(chat=asked.chat, model=adapter or "base")
        parts = [AnswerParts(support.format if support else None) for _ in range(choices)]
        for own in parts:
            own.feed(asked.continued)  # whether the answer so far is reasoning or content
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
            prefill = asked.continued
            if not prefill and support and asked.tool_choice != "auto":
                name = "" if asked.tool_choice == "required" else asked.tool_choice
                rendered = self.engine.tokenizer_of(adapter).render(
                    prompt, add_generation_prompt=True, tools=asked.tools
                )
                prefill = support.prefill(rendered, name)
            options = AnswerOptions(
                stop=asked.stop,
                tools=asked.tools,
                prefill=prefill,
                continues=bool(asked.continued),
                adapter_scale=asked.adapter_scale,
                visible_tokens=support.format.marks if support and support.format else (),
                top_logprobs=asked.top_logprobs,
                on_logprob=put,
            )
            if prefill and not asked.continued:
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
                return failed(RequestError(event.sentence, status=event.status))
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
                    yield sse_line({"error": error_body(RequestError(event.sentence, status=event.status))})
                    return
                if event is None:
                    if time.monotonic() - last_sent > _KEEPALIVE_SECONDS:
                        yield b": alive\n\n"
                        last_sent = time.monotonic()
                    continue
                for chunk in writer.take(at, event):
                    last_sent = time.monotonic()
                    yield sse_line(chunk)
            for chunk in writer.usage_chunk():
                yield sse_line(chunk)
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
            pieces = Pieces(partial(put, at))
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

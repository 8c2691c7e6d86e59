"""The `chat` job: an OpenAI-compatible HTTP server over one base model and the adapters in the library.

It listens on 127.0.0.1 at a free port and requires a bearer token, new for each server, with every request; port and
token are the job's result. It shuts down when asked to, or after `IDLE_SECONDS` without a request. Knows nothing
about its clients.

    GET  /v1/models             "base" and the adapters of this base
    POST /v1/chat/completions   messages → answer, as one JSON object or, with "stream", as server-sent events
    POST /v1/completions        text → its continuation, likewise
    POST /v1/classify           text or picture → the probability of each class; only with the head "classification"
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.chat.classifier import Classifiers
from studio.chat.engine import Engine, Outcome, server_stopped
from studio.chat.sampling import Sampling
from studio.jobs import failure_reasons
from studio.library import shelf
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.models.resolve import resolve_folder
from studio.options import require_valid
from studio.words import Sentence, StudioError

IDLE_SECONDS = 1800.0  # without a request, until the server ends and frees the model's memory
_MAX_CONCURRENT = 16  # concurrent answers; further requests are queued
_MAX_REQUEST_BYTES = 32_000_000
_KEEPALIVE_SECONDS = 5.0  # of silence in a stream, after which a keep-alive comment is sent
_ROLES = ("system", "user", "assistant")


def serve(job) -> dict:
    """Run the server until it is stopped or idle.

    payload: {"model", "revision", "quantisation", "precision", "device", "head", "idle_seconds"}, all but the first
    optional. The head "classification" serves classifiers in place of the language model, so that only one of them
    takes memory.
    """
    payload = job.payload
    job.doing(Sentence("Loading {model}", model=payload["model"]))
    engine = load_engine(job)
    token = secrets.token_urlsafe(32)
    service = Service(engine, token, lambda: shelf.listing(job.store, base=payload["model"]), job.home.root)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        service.app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="chat-server", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    result = {"port": listener.getsockname()[1], "token": token, "model": payload["model"]}
    job.result(result)
    job.doing(Sentence("Ready to chat with {model}", model=payload["model"]))
    idle = float(payload.get("idle_seconds") or IDLE_SECONDS)
    while thread.is_alive() and not job.stop_requested() and service.idle_seconds() < idle:
        time.sleep(0.1)
    service.shut_down()
    server.should_exit = True
    thread.join(10)
    return {"model": payload["model"]}


def load_engine(job) -> Engine | Classifiers:
    """The engine for the job's payload: with its base model loaded, or classifiers that are loaded on demand."""
    payload = job.payload
    folder = resolve_folder(payload["model"], payload.get("revision"))
    device = getattr(job, "torch_device", None) or payload.get("device") or "cpu"
    load_options = {
        "quantisation": payload.get("quantisation") or "none",
        "precision": payload.get("precision") or "auto",
        "device": device,
    }
    find = lambda adapter_id: shelf.find(job.home, job.store, adapter_id)[:2]  # noqa: E731
    if payload.get("head") == "classification":
        return Classifiers(folder, name=payload["model"], load_options=load_options, find=find)
    return Engine(
        load_base(folder, **load_options),
        ChatTokenizer(folder),
        name=payload["model"],
        find=find,
        load_full_model=lambda folder: load_base(folder, **load_options),
    )


class Service:
    """The HTTP side: requests → engine calls in threads, answers → JSON or server-sent events."""

    def __init__(self, engine: Engine | Classifiers, token: str, adapters: Callable[[], list[dict]], home):
        self.engine, self.token, self.adapters, self.home = engine, token, adapters, home
        self.pool = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="answer")
        self.shutting_down = threading.Event()
        self.active_requests = 0
        self.last_active = time.monotonic()
        chat_routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]
        own = (
            [Route("/v1/classify", self.classify, methods=["POST"])] if isinstance(engine, Classifiers) else chat_routes
        )
        self.app = self._require_token(Starlette(routes=[Route("/v1/models", self.models), *own]))

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
                return await _failure(Sentence("This server requires the studio's bearer token."), 401)(
                    scope, receive, send
                )
            self.active_requests += 1
            try:
                return await app(scope, receive, send)
            finally:
                self.active_requests -= 1
                self.last_active = time.monotonic()

        return guard

    async def models(self, request: Request) -> Response:
        rows = await asyncio.to_thread(self.adapters)
        entries = [{"id": "base", "name": self.engine.name}, *({"id": row["id"], "name": row["name"]} for row in rows)]
        return JSONResponse(
            {"object": "list", "data": [{"object": "model", "owned_by": "studio", **entry} for entry in entries]}
        )

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, "chat.completion", _messages, self.engine.chat)

    async def complete(self, request: Request) -> Response:
        return await self._answer(request, "text_completion", _prompt, self.engine.complete)

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
            return _failure(error.sentence, 400)
        except Exception as error:  # any error is sent to the client, and the server continues
            return _failure(failure_reasons.reason_of_exception(error, self.home), 400)

    async def _answer(
        self, request: Request, kind: str, read: Callable[[dict], object], ask: Callable[..., Outcome]
    ) -> Response:
        try:
            body = await _body(request)
            asked, sampling = read(body), _sampling(body)
        except StudioError as error:
            return _failure(error.sentence, 400)
        adapter_id = body.get("model") or "base"
        frame = {"id": f"{kind}-{secrets.token_hex(8)}", "created": int(time.time()), "model": adapter_id}
        events = self._events(
            lambda emit, cancelled: ask(None if adapter_id == "base" else adapter_id, asked, sampling, emit, cancelled)
        )
        if body.get("stream"):
            return StreamingResponse(
                _as_sse(events, kind, frame), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
            )
        return await self._json_answer(request, events, kind, frame)

    async def _json_answer(self, request: Request, events: AsyncIterator, kind: str, frame: dict) -> Response:
        text = ""
        async for event in events:
            if isinstance(event, str):
                text += event
            elif isinstance(event, Sentence):
                return _failure(event, 400)
            elif isinstance(event, Outcome):
                content = (
                    {"message": {"role": "assistant", "content": text}} if kind == "chat.completion" else {"text": text}
                )
                usage = {
                    "prompt_tokens": event.prompt_tokens,
                    "completion_tokens": event.new_tokens,
                    "total_tokens": event.prompt_tokens + event.new_tokens,
                }
                return JSONResponse(
                    {
                        **frame,
                        "object": kind,
                        "choices": [{"index": 0, **content, "finish_reason": event.finish}],
                        "usage": usage,
                    }
                )
            elif await request.is_disconnected():
                await events.aclose()
                break
        return Response(status_code=499)

    async def _events(
        self, run: Callable[[Callable, Callable], Outcome]
    ) -> AsyncIterator[str | None | Sentence | Outcome]:
        """Pieces of text, then an Outcome, or a Sentence that describes an error; None at intervals while nothing else
        comes.

        Closing the iterator (the client has disconnected) stops the answer at its next token.
        """
        disconnected = threading.Event()
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()

        def put(event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, event)

        def work() -> None:
            try:
                outcome = run(
                    lambda piece: put(piece) if piece else None,
                    lambda: disconnected.is_set() or self.shutting_down.is_set(),
                )
                put(server_stopped() if self.shutting_down.is_set() and outcome.finish == "cancelled" else outcome)
            except Exception as error:  # any error is sent to the client, and the server continues
                put(failure_reasons.reason_of_exception(error, self.home))

        try:
            self.pool.submit(work)
        except RuntimeError:  # the pool is shut down: the server ends
            yield server_stopped()
            return
        try:
            event = None
            while not isinstance(event, Outcome | Sentence):
                try:
                    event = await asyncio.wait_for(queue.get(), 0.5)
                except TimeoutError:
                    event = server_stopped() if self.shutting_down.is_set() else None
                yield event
        finally:
            disconnected.set()


async def _as_sse(events: AsyncIterator, kind: str, frame: dict) -> AsyncIterator[bytes]:
    chat = kind == "chat.completion"
    frame = {**frame, "object": "chat.completion.chunk" if chat else kind}
    last_sent = time.monotonic()
    try:
        async for event in events:
            if event is None:
                if time.monotonic() - last_sent > _KEEPALIVE_SECONDS:
                    yield b": alive\n\n"
                    last_sent = time.monotonic()
                continue
            last_sent = time.monotonic()
            if isinstance(event, Sentence):
                yield _line({"error": _error(event)})
                return
            text, finish = ("", event.finish) if isinstance(event, Outcome) else (event, None)
            content = {"delta": {"content": text} if text else {}} if chat else {"text": text}
            yield _line({**frame, "choices": [{"index": 0, **content, "finish_reason": finish}]})
        yield b"data: [DONE]\n\n"
    finally:
        await events.aclose()


def _line(value: dict) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _error(sentence: Sentence) -> dict:
    return {"message": str(sentence), "type": "studio_error", "sentence": sentence.to_json()}


def _failure(sentence: Sentence, status: int) -> JSONResponse:
    return JSONResponse({"error": _error(sentence)}, status_code=status)


async def _body(request: Request) -> dict:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _MAX_REQUEST_BYTES:
            raise StudioError(
                "The request is larger than {limit} MB; send less text.", limit=_MAX_REQUEST_BYTES // 1_000_000
            )
    try:
        body = json.loads(read)
    except (ValueError, RecursionError) as error:
        raise StudioError("The request is not valid JSON.") from error
    if not isinstance(body, dict):
        raise StudioError("The request is not valid JSON.")
    return body


def _sampling(body: dict) -> Sampling:
    """The sampling options in a request; other fields that OpenAI clients send are ignored."""
    values = {key: body[key] for key in Sampling.model_fields if body.get(key) is not None}
    if body.get("max_completion_tokens") is not None:
        values["max_tokens"] = body["max_completion_tokens"]
    return require_valid(Sampling, values)


def _messages(body: dict) -> list[dict]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise StudioError("There is nothing to answer; write a message first.")
    return [_message(item) for item in messages]


def _message(item) -> dict:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in _ROLES:
        raise StudioError(
            "A message's role must be one of {roles}, but is '{role}'.", roles=", ".join(_ROLES), role=role
        )
    content = item.get("content") or ""
    if isinstance(content, list):  # content parts, of which only text is supported
        content = "".join(
            part.get("text", "") for part in content if isinstance(part, dict) and part.get("type") == "text"
        )
    return {"role": role, "content": str(content)}


def _prompt(body: dict) -> str:
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        raise StudioError("There is nothing to continue; write some text first.")
    return body["prompt"]

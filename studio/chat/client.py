"""Client of the chat server, used by the window: start a server for a base model, wait until it is ready, stream its
answers.

No torch here. Knows nothing about the page that shows the answers.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from studio.chat.serving import Endpoint
from studio.data.reasoning import CLOSE, OPEN
from studio.home import Home
from studio.jobs import client as jobs
from studio.jobs.queue import serves_other_programs
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError

_READ_TIMEOUT = 60.0  # seconds; the server sends a keep-alive every 5


@dataclass(frozen=True)
class Server:
    """Address of a chat server: its port on 127.0.0.1, its bearer token, and the base model it serves."""

    port: int
    token: str
    model: str


def ensure_chat_server(
    store: Store,
    home: Home,
    model: str,
    *,
    revision: str | None = None,
    quantisation: str = "none",
    precision: str = "auto",
    device: str = "cpu",
    head: str = "causal_lm",
    serve_at: Endpoint | None = None,
) -> int:
    """The job id of a chat server for this base model with these settings: a running or queued one, else a new one.

    head: "causal_lm" or "classification". serve_at: the port and key at which other programs shall reach it; None takes
    any server. Chat servers on the same device with other settings are stopped, so that their memory is free; raises
    StudioError instead where one of them serves other programs.
    """
    payload = {
        "model": model,
        "revision": revision,
        "quantisation": quantisation,
        "precision": precision,
        "device": device,
        "head": head,
    }
    if serve_at:
        payload |= {"port": serve_at.port, "key": serve_at.key}
    rows = [row for row in store.jobs("queued", "running", kind="chat") if row["device"] == device]
    rows = [row for row in rows if not store.commands(row["id"], "stop")]
    found = next((row["id"] for row in rows if _serves(row["payload"], payload)), None)
    others = [row for row in rows if row["id"] != found]
    for row in others:
        if serves_other_programs(row):
            raise StudioError(
                "{model} is being served to other programs on this device. Stop serving it under Chat first, or chat "
                "with one of its own adapters.",
                model=row["payload"]["model"],
            )
    for row in others:
        store.command(row["id"], "stop")
    if found is None:
        found = store.queue_job("chat", payload, device=device)
    jobs.ensure_supervisor(home)
    return found


def _serves(running: dict, wanted: dict) -> bool:
    """Whether the server with the payload `running` can answer for one with the payload `wanted`. One that serves other
    programs answers whatever its quantisation is, because it cannot be replaced.
    """
    if running.get("port") and not wanted.get("port"):
        wanted = {key: wanted[key] for key in ("model", "revision", "head")}
    return {**running, **wanted} == running


def server_state(store: Store, job_id: int) -> tuple[Server | None, Sentence]:
    """The server if it is ready (else None), and what its job is doing. Raises `StudioError` if the job has ended."""
    row = store.job(job_id)
    if row is None or row["state"] in ENDED:
        reason = Sentence.from_json(row["reason"]) if row else None
        raise StudioError(reason or Sentence("The chat was stopped. Ask again to restart it."))
    doing = Sentence.from_json(row["doing"]) or Sentence("Starting the chat")
    if row["state"] == "running" and row["result"] and not store.commands(job_id, "stop"):
        return Server(row["result"]["port"], row["result"]["token"], row["result"]["model"]), doing
    return None, doing


def wait_ready(
    store: Store, job_id: int, progress: Callable[[Sentence], None] = lambda sentence: None, timeout: float = 600.0
) -> Server:
    """Wait until the server of the job is ready. progress: called with each new status sentence. timeout: seconds."""
    end, reported = time.monotonic() + timeout, None
    while time.monotonic() < end:
        server, doing = server_state(store, job_id)
        if server:
            return server
        if doing != reported:
            progress(reported := doing)
        time.sleep(0.05)
    raise StudioError(
        "The chat was not ready after {seconds} seconds; look at its log, or choose a smaller model.",
        seconds=int(timeout),
    )


@dataclass(frozen=True)
class AnswerEnd:
    """How an answer ended: "stop" (by itself), "length" or "tool_calls"; its tokens, the seconds until the first one,
    and the tokens per second from there on, as the server measured them.
    """

    finish: str
    tokens: int
    first_token_seconds: float
    tokens_per_second: float


def stream_events(server: Server, model: str, messages: list[dict] | str, **options: Any) -> Iterator[str | AnswerEnd]:
    """Stream the answer of `model` ("base" or an adapter's id) as pieces of text, then its end. Closing the iterator
    stops the answer.

    messages: a conversation, or a text to be continued; a conversation that ends with an assistant's message continues
    that answer. options: fields of `studio.chat.sampling.Sampling`, and `adapter_scale`. Raises StudioError where the
    server answers with an error or its worker ends.
    """
    text = isinstance(messages, str)
    body = {"model": model, "stream": True, "stream_options": {"include_usage": True}, **options}
    body |= {"prompt": messages} if text else {"messages": messages}
    begun = "" if text or messages[-1]["role"] != "assistant" else messages[-1]["content"]
    if begun:
        body["continue_final_message"] = True
    url = f"http://127.0.0.1:{server.port}/v1/{'completions' if text else 'chat/completions'}"
    timeout = httpx.Timeout(_READ_TIMEOUT, connect=5.0)
    done, finish = False, ""
    join = _text_joiner(reasoning=begun.lstrip().startswith(OPEN) and CLOSE not in begun)
    try:
        # trust_env=False: no proxy between two processes of one machine
        with (
            httpx.Client(timeout=timeout, trust_env=False) as client,
            client.stream("POST", url, json=body, headers={"Authorization": f"Bearer {server.token}"}) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _server_error(response.text)
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    event = _checked(json.loads(line[6:]))
                    if not event["choices"]:
                        yield _end(finish, event["timings"])
                        continue
                    choice = event["choices"][0]
                    finish = choice.get("finish_reason") or finish
                    if piece := join({"content": choice.get("text")} if text else choice.get("delta", {})):
                        yield piece
    except httpx.HTTPError as error:
        raise _worker_ended() from error
    if not done:
        raise _worker_ended()


def stream(port: int, token: str, model: str, messages: list[dict] | str, **options: Any) -> Iterator[str]:
    """The pieces of text of `stream_events`."""
    server = Server(port, token, "")
    return (event for event in stream_events(server, model, messages, **options) if isinstance(event, str))


def answer(port: int, token: str, model: str, messages: list[dict] | str, **sampling: Any) -> str:
    """The complete answer, as `stream` gives it."""
    return "".join(stream(port, token, model, messages, **sampling))


def classify(server: Server, adapter: str, *, text: str = "", picture: str | Path | None = None) -> dict:
    """{"labels", "probabilities", "multi_label", "sets"} of a text, or of the picture in a file, by an adapter.

    The server must have been started with the head "classification".
    """
    body = {"model": adapter, "input": text}
    if picture:
        body["picture"] = base64.b64encode(Path(picture).read_bytes()).decode()
    return _post(server, "classify", body)


def compare(server: Server, adapter: str, asked: list[dict] | str, answer: str, adapter_scale: float) -> list[dict]:
    """The tokens of `answer` as [{"token", "logprob", "base_logprob"}]: see `Engine.compare`."""
    body = {"model": adapter, "answer": answer, "adapter_scale": adapter_scale}
    return _post(server, "compare", body | {"prompt" if isinstance(asked, str) else "messages": asked})["tokens"]


def _post(server: Server, path: str, body: dict) -> dict:
    try:
        with httpx.Client(timeout=httpx.Timeout(_READ_TIMEOUT, connect=5.0), trust_env=False) as client:
            response = client.post(
                f"http://127.0.0.1:{server.port}/v1/{path}",
                json=body,
                headers={"Authorization": f"Bearer {server.token}"},
            )
    except httpx.HTTPError as error:
        raise _worker_ended() from error
    if response.status_code != 200:
        raise _server_error(response.text)
    return response.json()


def _checked(event: dict) -> dict:
    """`event`, unless it is an error, which is raised."""
    if "error" in event:
        raise StudioError(
            Sentence.from_json(event["error"].get("sentence"))
            or Sentence("{detail}", detail=event["error"].get("message"))
        )
    return event


def _end(finish: str, timings: dict) -> AnswerEnd:
    return AnswerEnd(finish, timings["predicted_n"], timings["prompt_ms"] / 1000, timings["predicted_per_second"])


def _text_joiner(reasoning: bool) -> Callable[[dict], str]:
    """A function that turns the deltas of a stream, in order, into text with the reasoning as `<think>…</think>`.
    reasoning: whether the text before them ends within reasoning.
    """

    def join(delta: dict) -> str:
        nonlocal reasoning
        made = ""
        if thought := delta.get("reasoning_content"):
            made += ("" if reasoning else f"{OPEN}\n") + thought
            reasoning = True
        if content := delta.get("content"):
            made += (f"\n{CLOSE}\n\n" if reasoning else "") + content
            reasoning = False
        return made

    return join


def _server_error(body: str) -> StudioError:
    try:
        return StudioError(Sentence.from_json(json.loads(body)["error"]["sentence"]))
    except (ValueError, KeyError, TypeError):
        return StudioError("The chat server did not understand the question: {detail}", detail=body[:200])


def _worker_ended() -> StudioError:
    return StudioError("The model stopped answering: its worker has ended. Ask again to restart it.")

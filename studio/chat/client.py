"""The window's side of Chat: get a chat server for a base model, wait until it is ready, and read its answers as they come.

No torch here. It knows nothing about the page that shows the answers.
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

from studio.home import Home
from studio.jobs import client as jobs
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError

_READ_TIMEOUT = 60.0  # seconds; the server says every 5 that it is alive


@dataclass(frozen=True)
class Server:
    """Where a chat server listens."""

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
) -> int:
    """The job id of a chat server for this base, loaded this way: one that is there, else a new one. head: "causal_lm" or "classification".

    Chat servers on the same device with anything else loaded are asked to leave, so that their memory is free for this one.
    """
    payload = {
        "model": model,
        "revision": revision,
        "quantisation": quantisation,
        "precision": precision,
        "device": device,
        "head": head,
    }
    found = None
    for row in store.jobs("queued", "running", kind="chat"):
        if row["payload"] == payload and row["device"] == device and not store.commands(row["id"], "stop"):
            found = row["id"]
        elif row["device"] == device and not store.commands(row["id"], "stop"):
            store.command(row["id"], "stop")
    if found is None:
        found = store.queue_job("chat", payload, device=device)
    jobs.ensure_supervisor(home)
    return found


def server_state(store: Store, job_id: int) -> tuple[Server | None, Sentence]:
    """The server if it is ready, and what its job is doing; `StudioError` if it has ended."""
    row = store.job(job_id)
    if row is None or row["state"] in ENDED:
        reason = Sentence.from_json(row["reason"]) if row else None
        raise StudioError(reason or Sentence("The chat was stopped. Ask again to start it anew."))
    doing = Sentence.from_json(row["doing"]) or Sentence("Starting the chat")
    if row["state"] == "running" and row["result"] and not store.commands(job_id, "stop"):
        return Server(row["result"]["port"], row["result"]["token"], row["result"]["model"]), doing
    return None, doing


def wait_ready(
    store: Store, job_id: int, progress: Callable[[Sentence], None] = lambda sentence: None, timeout: float = 600.0
) -> Server:
    """Wait until the server of the job is ready. `progress` hears each new sentence about what it is doing."""
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


def stream(port: int, token: str, model: str, messages: list[dict] | str, **sampling: Any) -> Iterator[str]:
    """The answer of `model` ("base" or an adapter's id) in pieces, as they come. Closing the iterator stops the answer.

    messages: a conversation; or a text to be continued. sampling: fields of `studio.chat.sampling.Sampling`.
    """
    text = isinstance(messages, str)
    body = {"model": model, "stream": True, **({"prompt": messages} if text else {"messages": messages}), **sampling}
    url = f"http://127.0.0.1:{port}/v1/{'completions' if text else 'chat/completions'}"
    timeout = httpx.Timeout(_READ_TIMEOUT, connect=5.0)
    done = False
    try:
        # trust_env: a proxy of the environment has no business between two processes of one machine
        with (
            httpx.Client(timeout=timeout, trust_env=False) as client,
            client.stream("POST", url, json=body, headers={"Authorization": f"Bearer {token}"}) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _server_error(response.text)
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    piece = _text_delta(json.loads(line[6:]), text)
                    if piece:
                        yield piece
    except httpx.HTTPError as error:
        raise _worker_ended() from error
    if not done:
        raise _worker_ended()


def answer(port: int, token: str, model: str, messages: list[dict] | str, **sampling: Any) -> str:
    """The whole answer at once."""
    return "".join(stream(port, token, model, messages, **sampling))


def classify(server: Server, adapter: str, *, text: str = "", picture: str | Path | None = None) -> dict:
    """{"labels", "probabilities", "multi_label", "sets"}: how likely the adapter finds each class for a text, or for the picture in a file.

    The server's head is "classification".
    """
    body = {"model": adapter, "input": text}
    if picture:
        body["picture"] = base64.b64encode(Path(picture).read_bytes()).decode()
    try:
        with httpx.Client(timeout=httpx.Timeout(_READ_TIMEOUT, connect=5.0), trust_env=False) as client:
            response = client.post(
                f"http://127.0.0.1:{server.port}/v1/classify",
                json=body,
                headers={"Authorization": f"Bearer {server.token}"},
            )
    except httpx.HTTPError as error:
        raise _worker_ended() from error
    if response.status_code != 200:
        raise _server_error(response.text)
    return response.json()


def _text_delta(event: dict, text: bool) -> str:
    if "error" in event:
        raise StudioError(
            Sentence.from_json(event["error"].get("sentence"))
            or Sentence("{detail}", detail=event["error"].get("message"))
        )
    choice = event["choices"][0]
    return choice.get("text", "") if text else choice.get("delta", {}).get("content", "")


def _server_error(body: str) -> StudioError:
    try:
        return StudioError(Sentence.from_json(json.loads(body)["error"]["sentence"]))
    except (ValueError, KeyError, TypeError):
        return StudioError("The chat server did not understand the question: {detail}", detail=body[:200])


def _worker_ended() -> StudioError:
    return StudioError("The model stopped answering: its worker has ended. Ask again to start it anew.")

"""The `chat` job: loads a base model and serves it with the adapters in the library (`studio.chat.service`).

It listens on 127.0.0.1; port and bearer token are the job's result. It shuts down when asked to, or after a time
without a request. Knows nothing about requests and clients.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn

from studio.chat.classifier import Classifiers
from studio.chat.engine import Engine
from studio.chat.service import Service
from studio.library import adapter_store
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.models.resolve import resolve_folder
from studio.words import Sentence, StudioError

IDLE_SECONDS = 1800.0  # without a request, until the server ends and frees the model's memory


def serve(job) -> dict:
    """Run the server until it is stopped or idle.

    payload: {"model", "revision", "quantisation", "precision", "device", "head", "idle_seconds", "port", "key"}, all
    but the first optional. The head "classification" serves classifiers in place of the language model, so that only
    one of them takes memory. port, key: the address and bearer token that other programs know (the page's *Serve*);
    such a server never ends by itself.
    """
    payload = job.payload
    job.doing(Sentence("Loading {model}", model=payload["model"]))
    listener = listen("127.0.0.1", payload.get("port") or 0)
    engine = load_engine(job)
    token = payload.get("key") or secrets.token_urlsafe(32)
    service = Service(engine, token, lambda: adapter_store.listing(job.store, base=payload["model"]), job.home.root)
    server, thread = start_server(service, listener)
    job.result({"port": listener.getsockname()[1], "token": token, "model": payload["model"]})
    job.doing(Sentence("Ready to chat with {model}", model=payload["model"]))
    idle = float("inf") if payload.get("port") else float(payload.get("idle_seconds") or IDLE_SECONDS)
    while thread.is_alive() and not job.stop_requested() and service.idle_seconds() < idle:
        time.sleep(0.1)
    service.shut_down()
    server.should_exit = True
    thread.join(10)
    return {"model": payload["model"]}


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to this address; port 0 takes any free one. Raises StudioError where the port is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StudioError(
            "The port {port} cannot be used ({detail}); choose another one, or end the program that uses it.",
            port=port,
            detail=error.strerror or str(error),
        ) from error
    return listener


def start_server(service: Service, listener: socket.socket) -> tuple[uvicorn.Server, threading.Thread]:
    """Serve `service` at `listener` in a thread; returns once requests are taken."""
    config = uvicorn.Config(
        service.app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="chat-server", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    return server, thread


def load_engine(job) -> Engine | Classifiers:
    """The engine for the job's payload: with its base model loaded, or classifiers that are loaded on demand."""
    payload = job.payload
    load_options = {
        "quantisation": payload.get("quantisation") or "none",
        "precision": payload.get("precision") or "auto",
        "device": getattr(job, "torch_device", None) or payload.get("device") or "cpu",
    }
    find = lambda adapter_id: adapter_store.find(job.home, job.store, adapter_id)[:2]  # noqa: E731
    folder = resolve_folder(payload["model"], payload.get("revision"))
    if payload.get("head") == "classification":
        return Classifiers(folder, name=payload["model"], load_options=load_options, find=find)
    return make_engine(folder, payload["model"], load_options, find)


def make_engine(folder: Path, name: str, load_options: dict, find: Callable[[str], tuple[Path, dict]]) -> Engine:
    """An engine over the base model in `folder`, loaded with `load_options`. name, find: see `Engine`."""
    return Engine(
        load_base(folder, **load_options),
        ChatTokenizer(folder),
        name=name,
        find=find,
        load_full_model=lambda whole: load_base(whole, **load_options),
    )

"""Serving a base model and its adapters to other programs: the address and key that stay, and ready snippets.

The server itself is the chat job (`studio.chat.server`) with a fixed port and key, so that Chat and other programs
share one model in memory. No torch here.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from studio.home import Home
from studio.store import Store
from studio.words import StudioError

DEFAULT_PORT = 8790


@dataclass(frozen=True)
class Endpoint:
    """Where other programs reach the server: its port on this machine, and the bearer token that they send."""

    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def endpoint(home: Home) -> Endpoint:
    """The home folder's endpoint; made on first use, readable by its owner only, and the same ever after."""
    path = _file(home)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Endpoint(int(stored["port"]), str(stored["key"]))
    except FileNotFoundError:
        return save_endpoint(home, Endpoint(DEFAULT_PORT, f"ds-{secrets.token_urlsafe(32)}"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(
            "{file} cannot be read ({detail}); delete it to get a new key.", file=str(path), detail=error
        ) from error


def save_endpoint(home: Home, new: Endpoint) -> Endpoint:
    """Store `new` in place of the endpoint there is."""
    path = _file(home)
    half = path.with_suffix(".new")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"port": new.port, "key": new.key}, file)
    half.replace(path)
    return new


def _file(home: Home) -> Path:
    return home.root / "serve.json"


def served_job(store: Store) -> dict | None:
    """The chat job that serves other programs, queued or running; None where there is none."""
    rows = [row for row in store.jobs("queued", "running", kind="chat") if row["payload"].get("port")]
    return next((row for row in rows if not store.commands(row["id"], "stop")), None)


def snippets(url: str, key: str, model: str) -> dict[str, str]:
    """Name of a program → text that makes it use `model` of the server at `url`."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]}, ensure_ascii=False)
    return {
        "curl": f"curl {url}/chat/completions \\\n  -H {shlex.quote(f'Authorization: Bearer {key}')} \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}",
        "Python": f'from openai import OpenAI\n\nclient = OpenAI(base_url="{url}", api_key="{key}")\n'
        f"answer = client.chat.completions.create(\n    model={model!r},\n"
        '    messages=[{"role": "user", "content": "Hello"}],\n)\nprint(answer.choices[0].message.content)',
        "Open WebUI": "Admin Settings → Connections → OpenAI API → +\n"
        f"URL: {url}\nKey: {key}\n\n"
        "Open WebUI in Docker reaches this machine as host.docker.internal in place of 127.0.0.1.",
        "LibreChat": "endpoints:\n  custom:\n    - name: Delta Studio\n"
        f"      apiKey: {key}\n      baseURL: {url}\n      models:\n"
        f"        default: [{json.dumps(model, ensure_ascii=False)}]\n"
        "        fetch: true",
    }

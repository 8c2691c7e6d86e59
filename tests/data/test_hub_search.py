"""The hub is searched through its real client, over HTTP, against a server of the test's own; without a network there
is a sentence."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from studio.data.hub_search import LIMIT, HubEntry, cached, search
from studio.words import StudioError

MODELS = [
    {"_id": "1", "id": "owner/small-model", "downloads": 1200, "gated": False},
    {"_id": "2", "id": "owner/gated-model", "downloads": 90, "gated": "manual"},
]


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub's search; returns the queries that it got. status: what it answers with."""
    seen = {"queries": [], "status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            address = urlparse(self.path)
            if address.path not in ("/api/models", "/api/datasets"):
                self.send_error(404)
                return
            seen["queries"].append((address.path, parse_qs(address.query)))
            body = json.dumps(MODELS if seen["status"] == 200 else {"error": "too many requests"}).encode()
            self.send_response(seen["status"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield seen
    server.shutdown()


def test_models_are_found_the_most_downloaded_first(hub):
    assert search("model", "small") == [
        HubEntry("owner/small-model", 1200, gated=False),
        HubEntry("owner/gated-model", 90, gated=True),
    ]
    path, query = hub["queries"][-1]
    assert path == "/api/models" and query["search"] == ["small"] and query["sort"] == ["downloads"]
    assert query["limit"] == [str(LIMIT)] and query["filter"] == ["transformers"]


def test_datasets_are_asked_for_as_such(hub):
    assert [entry.id for entry in search("dataset", "chats")] == ["owner/small-model", "owner/gated-model"]
    assert hub["queries"][-1][0] == "/api/datasets"


def test_a_refused_search_raises_a_studio_error(hub):
    hub["status"] = 400
    with pytest.raises(StudioError, match="refused the search"):
        search("model", "small")


def test_a_search_without_network_raises_a_studio_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudioError, match="cannot be reached"):
        search("model", "small")


def test_what_is_cached_here_is_listed(monkeypatch, tmp_path):
    from huggingface_hub.utils import _cache_manager as manager

    monkeypatch.setattr(manager, "HF_HUB_CACHE", str(tmp_path / "none"))
    assert cached("model") == []
    for kind, name in (("models", "owner--tiny"), ("datasets", "owner--rows")):
        snapshot = tmp_path / "hub" / f"{kind}--{name}" / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(manager, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert cached("model") == ["owner/tiny"] and cached("dataset") == ["owner/rows"]

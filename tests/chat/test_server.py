"""The chat server over real HTTP, in this process and in a real worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from studio.chat import client
from studio.chat.server import serve
from studio.home import REPOSITORY, Home
from studio.jobs.job import Job
from studio.store import Store
from studio.words import StudioError
from tests.fresh import workers

QUESTION = [{"role": "user", "content": "What is it?"}]
WORKER = """
import sys
from studio.home import Home
from studio.jobs.worker import run_job
run_job(Home(sys.argv[1]), int(sys.argv[2]))
"""


def start(home, models, **more):
    """`serve` in a thread, as a running job; returns (store, job id, thread)."""
    store = Store(home.database)
    job_id = store.queue_job("chat", {"model": str(models / "base"), **more})
    store.job_started(job_id, os.getpid(), 0.0)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(serve(Job(store.job(job_id), store, home))))
    thread.start()
    return store, job_id, thread


@pytest.fixture(scope="module")
def server(adapter_home, models):
    store, job_id, thread = start(adapter_home, models)
    yield client.wait_ready(store, job_id, timeout=60)
    store.command(job_id, "stop")
    thread.join(15)
    assert not thread.is_alive()


def post(server, path, body, token=None):
    return httpx.post(
        f"http://127.0.0.1:{server.port}/v1/{path}",
        json=body,
        headers={"Authorization": f"Bearer {token or server.token}"},
        trust_env=False,
        timeout=60,
    )


def test_requests_without_the_token_are_refused(server):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": server.token}):
        answer = httpx.get(f"http://127.0.0.1:{server.port}/v1/models", headers=headers, trust_env=False)
        assert answer.status_code == 401
    assert post(server, "chat/completions", {"messages": QUESTION}, token="x").status_code == 401


def test_models(server, models):
    answer = httpx.get(
        f"http://127.0.0.1:{server.port}/v1/models",
        headers={"Authorization": f"Bearer {server.token}"},
        trust_env=False,
    ).json()
    ids = [entry["id"] for entry in answer["data"]]
    assert ids[0] == "base" and {"lora", "ia3", "whole"} <= set(ids)


def test_streamed_and_whole_answers_are_the_same(server):
    for who in ("base", "lora", "ia3", "prompt", "whole"):
        streamed = list(client.stream(server.port, server.token, who, QUESTION, max_tokens=12))
        whole = post(
            server, "chat/completions", {"model": who, "messages": QUESTION, "max_tokens": 12, "n": 1, "user": "me"}
        ).json()
        assert "".join(streamed) == whole["choices"][0]["message"]["content"] and len(streamed) > 1
        assert whole["usage"]["completion_tokens"] == 12 and whole["choices"][0]["finish_reason"] == "length"
    text = client.answer(server.port, server.token, "lora", "Once upon", max_tokens=9)
    assert (
        post(server, "completions", {"model": "lora", "prompt": "Once upon", "max_tokens": 9}).json()["choices"][0][
            "text"
        ]
        == text
    )


def test_a_stream_is_what_openai_clients_read(server):
    body = post(
        server,
        "chat/completions",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "stream": True,
            "max_completion_tokens": 3,
        },
    ).text
    lines = [line for line in body.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    frames = [json.loads(line[6:]) for line in lines[:-1]]
    assert all(frame["object"] == "chat.completion.chunk" for frame in frames)
    assert frames[-1]["choices"][0]["finish_reason"] == "length"


def test_concurrent_requests_over_http(server):
    whos = ["base", "lora", "lora2"]
    alone = [client.answer(server.port, server.token, who, QUESTION, max_tokens=20) for who in whos]
    found = {}
    threads = [
        threading.Thread(
            target=lambda who=who: found.update(
                {who: client.answer(server.port, server.token, who, QUESTION, max_tokens=20)}
            )
        )
        for who in whos
    ]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert [found[who] for who in whos] == alone


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": ["x"]},
        {"messages": QUESTION, "temperature": -1},
        {"messages": QUESTION, "max_tokens": "many"},
        {"messages": QUESTION, "model": "../../etc"},
        {"messages": QUESTION, "model": "nowhere"},
        {"messages": [{"role": "user", "content": "x" * 999}]},
    ],
)
def test_invalid_requests_get_an_error_message(server, body):
    answer = post(server, "chat/completions", body)
    assert answer.status_code == (404 if "model" in body else 400) and answer.json()["error"]["sentence"]["text"]
    if body.get("messages") == QUESTION:
        with pytest.raises(StudioError):
            client.answer(
                server.port,
                server.token,
                body.get("model", "base"),
                QUESTION,
                **{k: v for k, v in body.items() if k not in ("messages", "model")},
            )


def test_broken_and_huge_requests(server):
    headers = {"Authorization": f"Bearer {server.token}"}
    url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
    assert httpx.post(url, content=b"{no", headers=headers, trust_env=False).status_code == 400
    assert httpx.post(url, content=b"[" * 9_000_000, headers=headers, trust_env=False).status_code == 400


def test_closing_the_iterator_stops_the_answer(server, monkeypatch):
    from studio.chat import engine

    seen = []
    add = engine.StreamDecoder.add

    def slow_add(self, token):
        time.sleep(0.03)
        seen.append(token)
        return add(self, token)

    monkeypatch.setattr(engine.StreamDecoder, "add", slow_add)
    pieces = client.stream(server.port, server.token, "base", QUESTION, max_tokens=200)
    next(pieces)
    pieces.close()
    time.sleep(0.7)
    assert len(seen) < 60
    count = len(seen)
    time.sleep(0.3)
    assert len(seen) == count


def test_it_shuts_down_when_idle_but_not_while_it_answers(adapter_home, models):
    store, job_id, thread = start(adapter_home, models, idle_seconds=0.5)
    server = client.wait_ready(store, job_id, timeout=60)
    assert client.answer(server.port, server.token, "base", QUESTION, max_tokens=5)
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(StudioError):
        client.answer(server.port, server.token, "base", QUESTION)


def test_stopping_during_an_answer_is_reported(adapter_home, models):
    store, job_id, thread = start(adapter_home, models)
    server = client.wait_ready(store, job_id, timeout=60)
    with pytest.raises(StudioError, match="stopped before"):
        for _ in client.stream(server.port, server.token, "base", QUESTION, max_tokens=200):
            store.command(job_id, "stop")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_killed_worker_is_reported(adapter_home, models):
    store = Store(adapter_home.database)
    job_id = store.queue_job("chat", {"model": str(models / "base")})
    worker = workers().begin(WORKER, str(adapter_home.root), str(job_id), cwd=REPOSITORY)

    def kill():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)

    try:
        progress = []
        server = client.wait_ready(store, job_id, progress.append, timeout=90)
        with pytest.raises(StudioError, match="worker has ended"):
            for _ in client.stream(server.port, server.token, "lora", QUESTION, max_tokens=200):
                kill()
        with pytest.raises(StudioError, match="worker has ended"):
            client.answer(server.port, server.token, "lora", QUESTION)
    finally:
        kill()
        workers().end()


def test_a_server_is_reused_only_with_the_same_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(client.jobs, "ensure_supervisor", lambda home: None)
    home = Home(tmp_path)
    store = Store(home.database)
    first = client.ensure_chat_server(store, home, "starter")
    assert client.ensure_chat_server(store, home, "starter") == first
    store.job_started(first, 1, 1.0)
    assert client.ensure_chat_server(store, home, "starter") == first
    other = client.ensure_chat_server(store, home, "starter", quantisation="nf4")
    assert other != first and store.commands(first, "stop")  # same base, other settings
    elsewhere = client.ensure_chat_server(store, home, "starter", device="cuda:0")
    assert not store.commands(elsewhere, "stop") and not store.commands(other, "stop")
    again = client.ensure_chat_server(store, home, "starter")
    assert again not in (first, other) and store.job(other)["state"] == "stopped"
    store.job_ended(again, "failed", {"text": "Not enough memory.", "values": {}})
    with pytest.raises(StudioError, match="Not enough memory"):
        client.wait_ready(store, again)
    with pytest.raises(StudioError, match="not ready after"):
        client.wait_ready(store, elsewhere, timeout=0.1)


def test_the_window_needs_no_torch():
    code = (
        "import sys, studio.chat.client, studio.chat.sampling, studio.library.adapter_store, studio.export.archive; "
        "assert not {'torch', 'transformers', 'peft', 'gradio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def ask_events(server, who, messages=QUESTION, **options):
    *pieces, end = client.stream_events(server, who, messages, **options)
    return "".join(pieces), end


def test_the_end_says_why_how_many_and_how_fast(server):
    text, end = ask_events(server, "lora", max_tokens=12)
    assert text and (end.finish, end.tokens) == ("length", 12)
    assert 0 < end.first_token_seconds < 60 and end.tokens_per_second > 0
    whole = post(server, "chat/completions", {"model": "lora", "messages": QUESTION, "max_tokens": 3}).json()
    assert whole["timings"]["predicted_n"] == 3 and whole["timings"]["prompt_n"] == whole["usage"]["prompt_tokens"]


def test_a_cut_answer_continues_as_it_would_have_gone_on(server):
    for who in ("base", "lora", "prompt", "whole"):
        whole, _ = ask_events(server, who, max_tokens=24)
        cut, _ = ask_events(server, who, max_tokens=9)
        if "\ufffd" in cut:  # cut within a character
            continue
        rest, end = ask_events(server, who, [*QUESTION, {"role": "assistant", "content": cut}], max_tokens=15)
        assert cut + rest == whole and end.tokens == 15, who


def test_only_the_beginning_of_an_answer_can_be_continued(server):
    body = {"messages": QUESTION, "continue_final_message": True}
    answer = post(server, "chat/completions", body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "messages"


def test_the_field_adapter_scale(server):
    base, _ = ask_events(server, "base", max_tokens=12)
    assert ask_events(server, "lora", max_tokens=12, adapter_scale=0)[0] == base
    full, _ = ask_events(server, "lora", max_tokens=12)
    assert ask_events(server, "lora", max_tokens=12, adapter_scale=1)[0] == full
    assert ask_events(server, "lora", max_tokens=12, adapter_scale=0.5)[0] not in (base, full)
    for value, who in ((-0.1, "lora"), (2.1, "lora"), ("much", "lora"), (True, "lora"), (0.5, "base"), (0.5, "prompt")):
        body = {"model": who, "messages": QUESTION, "max_tokens": 2, "adapter_scale": value}
        assert post(server, "chat/completions", body).status_code == 400, (value, who)


def test_compare_over_http(server):
    tokens = client.compare(server, "lora", QUESTION, "Well.", 1.0)
    assert "".join(token["token"] for token in tokens) == "Well."
    assert all(token["logprob"] <= 0 and token["logprob"] != token["base_logprob"] for token in tokens)
    with pytest.raises(StudioError, match="no answer"):
        client.compare(server, "lora", QUESTION, "", 1.0)
    for body in ({"model": "base", "messages": QUESTION, "answer": "x"}, {"model": "lora", "answer": "x"}):
        assert post(server, "compare", body).status_code == 400
    assert post(server, "compare", {"model": "gone", "messages": QUESTION, "answer": "x"}).status_code == 404

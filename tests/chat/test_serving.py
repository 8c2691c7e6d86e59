"""Serving to other programs: the endpoint that stays, the job that lives without a window, and the command."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys

import openai
import pytest

from studio import serve
from studio.chat import client, serving
from studio.home import REPOSITORY, Home
from studio.jobs import queue
from studio.store import Store
from studio.words import StudioError

QUESTION = [{"role": "user", "content": "What is it?"}]


def test_the_endpoint_stays_and_is_the_owners_alone(tmp_path):
    home = Home(tmp_path)
    made = serving.endpoint(home)
    assert serving.endpoint(home) == made and made.url == f"http://127.0.0.1:{serving.DEFAULT_PORT}/v1"
    assert stat.S_IMODE((tmp_path / "serve.json").stat().st_mode) == 0o600
    serving.save_endpoint(home, serving.Endpoint(9000, made.key))
    assert serving.endpoint(home).port == 9000
    (tmp_path / "serve.json").write_text("{torn")
    with pytest.raises(StudioError, match="delete it to get a new key"):
        serving.endpoint(home)


def test_chat_uses_the_served_model_and_never_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr("studio.jobs.client.ensure_supervisor", lambda home: None)
    home = Home(tmp_path)
    store = Store(home.database)
    chat = client.ensure_chat_server(store, home, "starter")
    served = client.ensure_chat_server(store, home, "starter", serve_at=serving.Endpoint(9000, "key"))
    assert served != chat and store.commands(chat, "stop") and serving.served_job(store)["id"] == served
    assert client.ensure_chat_server(store, home, "starter") == served
    with pytest.raises(StudioError, match="starter is being served"):
        client.ensure_chat_server(store, home, "another/model")
    assert not store.commands(served, "stop")
    assert client.ensure_chat_server(store, home, "another/model", device="cuda:0") != served


def test_a_served_model_keeps_its_place():
    job = {"id": 1, "kind": "chat", "device": "cuda:0", "payload": {"port": 9000}}
    train = {"id": 2, "kind": "train", "device": "cuda:0", "payload": {}}
    assert queue.decide([train], [job]) == ([train], [])
    assert queue.is_needed_without_window(job) and not queue.is_needed_without_window({**job, "payload": {}})


def test_snippets_hold_what_they_need():
    for text in serving.snippets("http://127.0.0.1:1/v1", "k'ey", "a'b").values():
        assert "k" in text and "http://127.0.0.1:1/v1" in text
    script = serving.snippets("http://127.0.0.1:1/v1", "key", "a'b")["Python"]
    compile(script, "snippet", "exec")


@pytest.fixture
def served(adapter_home, models):
    """`python -m studio.serve` with an adapter of the library and one in a folder: (url, key)."""
    command = [sys.executable, "-m", "studio.serve", "lora", str(models / "lora2"), "--base", str(models / "base")]
    command += ["--home", str(adapter_home.root), "--port", "0"]
    serving.save_endpoint(adapter_home, serving.Endpoint(0, "ds-test"))
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env=os.environ)
    output = ""
    for line in process.stdout:
        output += line
        if "Ctrl+C" in line:
            break
    url = re.search(r"at (http://\S+)", output)[1]
    yield url, re.search(r"Key: (\S+)", output)[1], output
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


@pytest.mark.slow
def test_serving_from_a_terminal(served):
    url, key, output = served
    assert key == "ds-test"
    api = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    assert [model.id for model in api.models.list()] == ["base", "lora", "lora2"]
    answers = {
        name: api.chat.completions.create(model=name, messages=QUESTION, max_tokens=8).choices[0].message.content
        for name in ("base", "lora", "lora2")
    }
    assert len(set(answers.values())) == 3
    command = re.search(r"curl .*?'\n", output, re.DOTALL)[0]
    answer = subprocess.run(["bash", "-c", command.replace("curl ", "curl -s ")], capture_output=True, text=True)
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name the adapters to serve"),
        (["nowhere"], "There is no adapter 'nowhere'"),
        (["lora", "--base", "another/model"], "these adapters need several"),
        (["--base", "another/model"], "not on this machine"),
    ],
)
def test_what_cannot_be_served(adapter_home, capsys, arguments, says):
    assert serve.main([*arguments, "--home", str(adapter_home.root), "--port", "0"]) == 2
    assert says in capsys.readouterr().err


def test_the_command_says_what_cannot_be_served(tmp_path):
    command = [sys.executable, "-m", "studio.serve", "--home", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "Name the adapters to serve, or a base model with --base.\n")

"""A Space's folder runs as it is, without the studio, and answers as the adapter does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from studio.library import adapter_store
from tests.conftest import free_port, until
from tests.export.conftest import run_export


@pytest.mark.slow
def test_the_page_of_a_space_answers_as_the_adapter_does(home, store, models, shared_reader, tmp_path):
    from gradio_client import Client
    from peft import PeftModel

    from studio.chat.generation import generate_answers
    from studio.models.chat_tokenizer import ChatTokenizer
    from studio.models.load import load_base

    card = {"kind": "adapter", "method": "lora", "base": str(models / "base"), "task": "chat", "summary": "LoRA"}
    adapter_store.add(home, store, source=models / "lora", name='A "quoted" {name}', run_id="lora", card=card)
    result = run_export(home, store, "lora", "space")
    folder = home.exports / result["export"] / "space"
    port = free_port()
    log = open(tmp_path / "log", "w")  # noqa: SIM115
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "app.py"], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        until(
            lambda: process.poll() is not None or "Running on local URL" in (tmp_path / "log").read_text(),
            120,
            "the Space does not start",
        )
        assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
        answer = Client(f"http://127.0.0.1:{port}", verbose=False).predict("Hello", api_name="/chat")
    finally:
        process.kill()
        process.wait()
        log.close()
    model = PeftModel.from_pretrained(load_base(models / "base", precision="fp32"), models / "lora")
    question = [{"role": "user", "content": "Hello"}]
    expected = generate_answers(model, ChatTokenizer(models / "base"), [question], 40)[0]
    assert answer.startswith(expected[:30])

"""Publishing: what arrives on a stand-in for the Hub, what the Hub refuses, and where the token is not."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from PIL import Image

from studio.export import outputs, token_handover
from studio.export.job import export
from studio.jobs.job import Job
from studio.library import adapter_store
from studio.words import StudioError
from tests.conftest import free_port
from tests.export.hub_server import READ_ONLY, RIGHT, HubServer

REPOSITORY = "ann/captain"


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants

    # Large files go over LFS's HTTP here; the real Hub takes them through Xet, a protocol of its own.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    server.close()


@pytest.fixture
def adapter(home, store, models):
    run, _ = store.create_run("r", {}, "cpu")
    for step in range(1, 6):
        store.add_metrics(run, step, {"loss": 3.0 / step, **({"eval_loss": 2.0} if step in (2, 4) else {})})
    interval = {"base": [0.0, 0.1], "fine_tuned": [0.8, 0.9], "difference": [0.7, 0.9]}
    card = {
        "kind": "adapter", "method": "lora", "summary": "LoRA r=4", "artefact_type": "LORA",
        "base": str(models / "base"),
        "task": "chat", "data": "captain.jsonl", "rows": 40, "recipe": {"name": "r"},
        "metrics": {"exact_match": 0.85, "base_exact_match": 0.05, "intervals": {"exact_match": interval}},
    }  # fmt: skip
    (models / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# base\n")
    return adapter_store.add(home, store, source=models / "lora", name="Captain 船长", run_id=run, card=card)


def publish(home, store, adapter, token=RIGHT, target="hub", **options):
    payload = {"adapter": adapter, "target": target, "options": {"repository": REPOSITORY, **options}}
    number = store.queue_job("export", payload | (token_handover.offer(token) if token else {}))
    return export(Job(store.job(number), store, home))


def test_an_adapter_arrives_with_its_card_and_the_token_stays_nowhere(hub, home, store, adapter, shared_reader):
    result = publish(home, store, adapter)
    there = hub.repositories[("models", REPOSITORY)]
    assert result["address"] == f"{hub.address}/{REPOSITORY}" and there["private"] is True
    source = home.adapter(adapter)
    assert there["files"]["adapter_model.safetensors"] == (source / "adapter_model.safetensors").read_bytes()
    assert str(home.root).encode() not in b"".join(there["files"].values())
    text = there["files"]["README.md"].decode()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "apache-2.0" and front["library_name"] == "peft"
    for words in (
        "captain.jsonl (40 examples)",
        "0.0% – 10.0% | 80.0% – 90.0%",
        "![Loss over the steps](curve.png)",
        "read back by peft in a fresh process",
        "The licence of the base model (apache-2.0)",
        "The whole recipe",
    ):
        assert words in text
    assert Image.open(io.BytesIO(there["files"]["curve.png"])).size == (960, 480)
    (manifest,) = outputs.listing(home, adapter)
    assert manifest["address"] == result["address"] and manifest["files"] == []
    assert hub.tokens == {RIGHT}
    store.close()
    kept = [path for path in home.root.rglob("*") if path.is_file()]
    assert kept and not any(RIGHT.encode() in path.read_bytes() for path in kept)


def test_a_merged_model_goes_public_in_16_bit_if_asked(hub, home, store, adapter, shared_reader):
    publish(home, store, adapter, what="merged", private=False)
    there = hub.repositories[("models", REPOSITORY)]
    assert there["private"] is False and json.loads(there["files"]["config.json"])["dtype"] == "bfloat16"
    assert yaml.safe_load(there["files"]["README.md"].decode().split("---\n")[1])["library_name"] == "transformers"


def test_what_the_hub_refuses_is_a_sentence_and_nothing_is_listed(
    hub, home, store, adapter, shared_reader, monkeypatch
):
    with pytest.raises(StudioError, match="refuses the token for ann/captain"):
        publish(home, store, adapter, token=READ_ONLY)
    with pytest.raises(StudioError, match="needs a token that may write"):
        publish(home, store, adapter, token="")
    for name in ("captain", "ann/../etc", "ann/x.git", "", "an n/captain"):
        with pytest.raises(StudioError, match="is no name of a repository"):
            publish(home, store, adapter, repository=name)
    files = {".gitattributes": b"", "model.bin": b"precious"}
    hub.repositories[("models", REPOSITORY)] = {"private": True, "sdk": None, "files": files}
    with pytest.raises(StudioError, match="has other content already, such as model.bin"):
        publish(home, store, adapter)
    assert outputs.listing(home, adapter) == [] and set(files) == {".gitattributes", "model.bin"}
    publish(home, store, adapter, replace=True)
    assert files["model.bin"] == b"precious" and "adapter_config.json" in files
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StudioError, match="cannot be reached"):
        publish(home, store, adapter, repository="ann/other")


def test_the_token_is_handed_over_once(tmp_path):
    payload = token_handover.offer("secret")
    assert "secret" not in json.dumps(payload)
    with pytest.raises(StudioError, match="not at hand any more"):
        token_handover.take({**payload, "token_key": "00" * 16})
    with pytest.raises(StudioError, match="enter it and export again"):
        token_handover.take(payload)  # the first try, with a wrong key, has used it up
    again = token_handover.offer("secret")
    assert token_handover.take(again) == "secret"
    with pytest.raises(StudioError):
        token_handover.take(again)
    assert token_handover.take({}) is None


def test_a_space_is_pushed_as_a_space(hub, home, store, adapter, shared_reader):
    result = publish(home, store, adapter, target="space")
    there = hub.repositories[("spaces", REPOSITORY)]
    assert there["sdk"] == "gradio" and result["address"].endswith(f"/spaces/{REPOSITORY}")
    assert {"app.py", "requirements.txt", "README.md", "adapter/adapter_model.safetensors", "base/config.json"} <= set(
        there["files"]
    )
    front = yaml.safe_load(there["files"]["README.md"].decode().split("---\n")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py"

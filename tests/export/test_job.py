"""The export job: what is listed is proven; what fails, is cancelled or does not fit leaves nothing but a sentence."""

from __future__ import annotations

import errno
import json

import pytest

from studio.export import gguf_model, merge, outputs
from studio.export.proof import BOUNDS, Reader
from studio.export.source import find_source
from studio.export.targets import TARGETS
from studio.jobs.job import Job, Stopped
from studio.library import adapter_store
from studio.words import StudioError
from tests.export.conftest import run_export


def add(home, store, models, kind="lora", adapter_id=None, **card):
    card = {
        "kind": "adapter", "method": {"prompt": "prompt_tuning"}.get(kind, kind), "summary": kind,
        "artefact_type": kind.upper(), "base": str(models / "base"), "task": "chat", **card,
    }  # fmt: skip
    adapter_id = adapter_id or kind
    return adapter_store.add(home, store, source=models / kind, name=f"My {kind}", run_id=adapter_id, card=card)


def left(home) -> list[str]:
    """What lies in the folder of exports, finished or half-written."""
    return [path.name for path in home.exports.iterdir()]


def test_an_export_is_listed_with_its_files_and_its_proof_and_can_be_deleted(home, store, models, shared_reader):
    add(home, store, models)
    result = run_export(home, store, "lora", "merged", dtype="bf16", shard_gb=0.01, place="folder")
    (manifest,) = outputs.listing(home, "lora")
    (proof,) = manifest["proofs"]
    assert manifest["id"] == result["export"] and manifest["options"]["dtype"] == "bf16"
    assert proof["exact"] <= 1e-4 and 0 < proof["moved"] <= proof["moved_bound"] == 0.05
    names = {file["name"] for file in manifest["files"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    for file in manifest["files"]:
        assert outputs.file_path(home, manifest["id"], file["name"]).stat().st_size == file["bytes"]
    with pytest.raises(StudioError, match="no file"):
        outputs.file_path(home, manifest["id"], "../../studio.sqlite3")
    run_export(home, store, "lora", "zip")
    assert [each["target"] for each in outputs.listing(home, "lora")] == ["zip", "merged"]
    assert outputs.listing(home, "other") == []
    for each in outputs.listing(home, "lora"):
        outputs.delete(home, each["id"])
    assert left(home) == []


def test_another_difference_than_allowed_fails_and_is_not_listed(home, store, models, shared_reader, monkeypatch):
    add(home, store, models)
    true = Reader.logits
    monkeypatch.setattr(Reader, "logits", lambda self, *args: [each + 2e-3 for each in true(self, *args)])
    for target, options in (("zip", {}), ("merged", {"dtype": "bf16"}), ("gguf", {"format": "Q8_0"})):
        with pytest.raises(StudioError, match="logits differ from the adapter's by 0.002"):
            run_export(home, store, "lora", target, **options)
    assert left(home) == [] and len(store.adapters()) == 1


def test_a_format_too_coarse_for_the_model_is_not_listed(home, store, models, shared_reader, monkeypatch):
    add(home, store, models)
    monkeypatch.setitem(BOUNDS, "Q4_0", 1e-3)
    with pytest.raises(StudioError, match="Q4_0 is too coarse for this model"):
        run_export(home, store, "lora", "gguf", format="Q4_0")
    assert left(home) == []


def test_a_damaged_file_is_noticed_when_it_is_read_back(home, store, models, shared_reader, monkeypatch):
    add(home, store, models)
    write = gguf_model.write_tensors

    def damaging(writer, entries, each):
        write(writer, entries, each)
        with open(writer.path, "r+b") as file:
            file.seek(-4096, 2)
            file.write(b"\x3f" * 2048)

    monkeypatch.setattr(gguf_model, "write_tensors", damaging)
    with pytest.raises(StudioError, match="of the written GGUF file differs"):
        run_export(home, store, "lora", "gguf", format="F32")
    monkeypatch.setattr(merge, "copy_companions", lambda source, folder: (folder / "model.safetensors").write_text("x"))
    with pytest.raises(StudioError, match="could not be read back, so it was not kept"):
        run_export(home, store, "lora", "merged")
    assert left(home) == [] and len(store.adapters()) == 1


def test_a_full_disk(home, store, models, shared_reader, monkeypatch):
    add(home, store, models)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf_model, "write_tensors", full)
    with pytest.raises(StudioError, match="The disk is full: the export of 'My lora'"):
        run_export(home, store, "lora", "gguf", format="F32")
    monkeypatch.setattr(type(home), "free_bytes", lambda self: 10)
    for target in ("merged", "gguf"):
        with pytest.raises(StudioError, match="free some space"):
            run_export(home, store, "lora", target)
    assert left(home) == []


def test_cancel_in_the_middle_keeps_nothing(home, store, models, shared_reader):
    add(home, store, models)

    class Cancelled(Job):
        def result(self, result):
            super().result(result)
            if result["fraction"] > 0.4:
                self.ask_to_stop()

    for target in ("merged", "gguf"):
        with pytest.raises(Stopped):
            run_export(home, store, "lora", target, job=Cancelled)
    assert left(home) == [] and len(store.adapters()) == 1


def test_what_a_killed_job_left_is_swept_and_was_never_listed(home, store, models):
    add(home, store, models)
    running, dead = (store.queue_job("export", {"adapter": "lora"}) for _ in range(2))
    for job in (running, dead):
        half = home.exports / f".half-{job}"
        half.mkdir()
        (half / outputs.MANIFEST).write_text(json.dumps({"adapter": "lora", "finished": "", "id": "x"}))
    store.job_ended(dead, "failed")
    assert outputs.listing(home, "lora") == []
    outputs.sweep(home, store)
    assert left(home) == [f".half-{running}"]


def test_exports_go_with_an_adapter_that_is_deleted_for_good(home, store, models):
    for adapter in ("lora", "other"):
        add(home, store, models, adapter_id=adapter)
        with outputs.writing(home, 1) as half:
            outputs.keep(home, half, f"{adapter}.zip", {"adapter": adapter})
    adapter_store.delete(home, store, "lora")
    outputs.sweep(home, store)
    assert outputs.listing(home, "lora"), "it can still be restored from the trash"
    adapter_store.remove(home, store, "lora")
    outputs.sweep(home, store)
    assert not outputs.listing(home, "lora") and outputs.listing(home, "other")


def test_what_does_not_fit_is_said_before_and_by_the_job(home, store, models, shared_reader, tmp_path):
    from tests.export.tiny_architectures import make

    add(home, store, models, "prompt")
    add(home, store, models, adapter_id="lost", base=str(tmp_path / "gone"))
    add(home, store, models, adapter_id="hub", base="owner/not-here")
    add(home, store, models, adapter_id="classes", labels=["a", "b"])
    add(home, store, models, adapter_id="damaged")
    (home.adapter("damaged") / "adapter_model.safetensors").write_bytes(b"\x10" + bytes(20))
    whole = {"kind": "model", "base": str(models / "base"), "task": "chat", "method": "full"}
    adapter_store.add(home, store, source=models / "base", name="full", run_id="full", card=whole)
    for adapter, target, words in (
        ("prompt", "merged", "Prompt tuning does not go with merging"),
        ("prompt", "gguf", "Prompt tuning does not go with merging"),
        ("prompt", "gguf_lora", "this adapter is PROMPT_TUNING"),
        ("full", "merged", "whole model already"),
        ("full", "gguf_lora", "whole model, not a LoRA"),
        ("classes", "gguf", "this adapter classifies"),
        ("classes", "space", "this adapter classifies"),
        ("hub", "zip", "'owner/not-here' is not on this machine"),
        ("lost", "zip", "There is no model folder"),
        ("damaged", "zip", "missing or damaged"),
        ("damaged", "gguf_lora", "missing or damaged"),
    ):
        assert words in str(TARGETS[target].refusal(find_source(home, store, adapter)))
        with pytest.raises(StudioError, match=words.replace("(", "\\(")):
            run_export(home, store, adapter, target)
    add(home, store, models, adapter_id="other", base=str(make("llama", tmp_path / "other")))
    with pytest.raises(StudioError, match="does not fit the base model"):
        run_export(home, store, "other", "zip")
    with pytest.raises(StudioError, match="There is no export called 'exe'"):
        run_export(home, store, "prompt", "exe")
    assert left(home) == []


def test_a_model_of_the_same_id_that_comes_from_elsewhere_is_not_replaced(home, store, models, shared_reader):
    add(home, store, models)
    card = {"kind": "model", "base": str(models / "base"), "task": "chat"}
    adapter_store.add(home, store, source=models / "base", name="Mine", run_id="x", card=card, adapter_id="lora-merged")
    with pytest.raises(StudioError, match="another 'Mine' already"):
        run_export(home, store, "lora", "merged")
    assert store.adapter("lora-merged")["name"] == "Mine" and left(home) == []

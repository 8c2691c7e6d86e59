"""Import of adapters: a good one chats as it did where it came from; a bad one is refused and leaves nothing behind."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import zipfile
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from studio.export.archive import zip_adapter
from studio.library import adapter_store
from studio.library.importing import import_adapter
from studio.words import StudioError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def bring(home, store):
    """bring(place, **payload) → the row of the imported adapter."""

    def run(place, source="zip", **payload):
        job = SimpleNamespace(
            payload={"source": source, "place": str(place), **payload},
            home=home,
            store=store,
            doing=lambda sentence: None,
            check_stop=lambda: None,
        )
        return store.adapter(import_adapter(job)["adapter"])

    return run


@pytest.fixture
def files(models):
    """Name → content of a good adapter's files."""
    return {path.name: path.read_bytes() for path in (models / "lora").iterdir() if path.name in (WEIGHTS, CONFIG)}


def zipped(folder, files: dict[str, bytes], name="mine.zip"):
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            archive.writestr(inside, data)
    return path


def refused(home, store, bring, words, place, **payload):
    with pytest.raises(StudioError) as caught:
        bring(place, **payload)
    assert words in str(caught.value), str(caught.value)
    assert not store.adapters() and not list((home.root / "adapters").iterdir())


@pytest.mark.parametrize("source", ["zip", "folder", "zip in a folder"])
def test_an_imported_adapter_answers_as_before(home, models, bring, files, tmp_path, source):
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    base = str(models / "base")
    if source == "folder":
        row = bring(models / "lora", "folder", base=base)
    else:
        inside = "adapter of mine/" if "in" in source else ""
        made = {f"{inside}{name}": data for name, data in files.items()} | {"__MACOSX/x": b"", "notes.txt": b"x"}
        row = bring(zipped(tmp_path, made), base=base)
    folder = home.adapter(row["id"])
    assert load_file(folder / WEIGHTS).keys() == load_file(models / "lora" / WEIGHTS).keys()
    assert json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] == base
    card = row["card"]
    assert (card["base"], card["artefact_type"], card["method"], card["kind"]) == (base, "LORA", "lora", "adapter")
    assert not {"metrics", "recipe", "data", "rows", "seconds"} & card.keys()
    assert apply_adapter(load_base(models / "base"), folder)
    assert (folder / "README.md").exists() and not (folder / "notes.txt").exists()


def test_a_zip_of_the_studio_brings_its_recipe_and_is_packed_again(home, store, bring, models, tmp_path):
    from studio.recipe import Recipe

    recipe = Recipe(method={"name": "lora", "rank": 4}, model={"name": "starter"}).to_dict()
    card = {
        "kind": "adapter",
        "method": "lora",
        "artefact_type": "LORA",
        "base": str(models / "base"),
        "recipe": recipe,
    }
    adapter_store.add(home, store, source=models / "lora", name="First", run_id="first", card=card)
    path = zip_adapter(home, store, "first", tmp_path)
    row = bring(path, base=str(models / "base"), name="Again")
    assert row["card"]["recipe"]["method"] == recipe["method"] and row["card"]["task"] == "chat"
    assert row["card"]["recipe"]["model"]["name"] == str(models / "base")
    assert row["name"] == "Again" and row["card"]["imported_from"] == path.name
    assert zip_adapter(home, store, row["id"], tmp_path).exists()


def test_other_types_are_known_too(bring, models):
    for kind in ("ia3", "prompt"):
        assert bring(models / kind, "folder", base=str(models / "base"))["card"]["base"] == str(models / "base")


def test_the_person_is_asked_for_an_unknown_base(home, store, bring, files, tmp_path):
    config = json.loads(files[CONFIG]) | {"base_model_name_or_path": "no-such-model"}
    path = zipped(tmp_path, files | {CONFIG: json.dumps(config).encode()})
    refused(home, store, bring, "Name it under Base model", path)


BOTH = {"target_modules": ".*q_proj", "layers_to_transform": [0]}  # peft refuses a pattern together with layers
BAD = {
    "pickle": (lambda files: {CONFIG: files[CONFIG], "adapter_model.bin": pickle.dumps([1])}, "can run code"),
    "pickle by another name": (lambda files: {**files, WEIGHTS: pickle.dumps([1])}, "damaged or not safetensors"),
    "torn weights": (lambda files: {**files, WEIGHTS: files[WEIGHTS][:-100]}, "damaged or not safetensors"),
    "no weights": (lambda files: {CONFIG: files[CONFIG]}, "the weights are missing"),
    "no configuration": (lambda files: {WEIGHTS: files[WEIGHTS]}, "no adapter of peft"),
    "whole model": (lambda files: {"config.json": b"{}", "model.safetensors": b""}, "a whole model"),
    "torn configuration": (lambda files: {**files, CONFIG: b'{"peft_type"'}, "cannot be read"),
    "unknown type": (lambda files: {**files, CONFIG: b'{"peft_type": "MAGIC"}'}, "type 'MAGIC'"),
    "impossible configuration": (
        lambda files: {**files, CONFIG: json.dumps(json.loads(files[CONFIG]) | BOTH).encode()},
        "cannot be used",
    ),
    "another rank": (
        lambda files: {**files, CONFIG: json.dumps(json.loads(files[CONFIG]) | {"r": 999}).encode()},
        "says r = 999",
    ),
    "traversal": (lambda files: {**files, "../../evil.json": b"x"}, "points outside"),
    "absolute path": (lambda files: {**files, "/tmp/evil.json": b"x"}, "points outside"),
    "archive inside": (lambda files: {**files, "more.zip": b"x"}, "another archive"),
    "bomb": (lambda files: {**files, "rope.json": b"0" * 30_000_000}, "zip bomb"),
    "too many files": (lambda files: {**files, **{f"{at}.txt": b"" for at in range(600)}}, "at most 500"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_zip_is_refused_in_a_sentence(home, store, bring, models, files, tmp_path, kind):
    make, words = BAD[kind]
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, data in make(files).items():
            archive.writestr(inside, data)
    refused(home, store, bring, words, path, base=str(models / "base"))
    assert not (tmp_path.parent / "evil.json").exists()


def test_links_twins_and_no_zip_at_all_are_refused(home, store, bring, models, files, tmp_path):
    base = str(models / "base")
    path = zipped(tmp_path, files)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("chat_template.jinja")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(home, store, bring, "a link named", path, base=base)
    path = zipped(tmp_path, files)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr(CONFIG, files[CONFIG])
    refused(home, store, bring, "two files named", path, base=base)
    path.write_bytes(b"no zip")
    refused(home, store, bring, "damaged zip", path, base=base)
    refused(home, store, bring, "There is no folder", tmp_path / "nowhere", source="folder", base=base)
    folder = shutil.copytree(models / "lora", tmp_path / "linked")
    os.replace(folder / WEIGHTS, tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    refused(home, store, bring, "the weights are missing", folder, source="folder", base=base)


def test_an_adapter_of_another_base_or_without_finite_numbers_is_refused(home, store, bring, models, tmp_path):
    folder = shutil.copytree(models / "lora", tmp_path / "adapter")
    refused(home, store, bring, "does not fit starter", folder, source="folder", base="starter")
    tensors = load_file(folder / WEIGHTS)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first] * float("nan")}, folder / WEIGHTS)
    refused(home, store, bring, "not finite", folder, source="folder", base=str(models / "base"))
    save_file(
        {**tensors, "base_model.model.model.layers.99.mlp.lora_A.weight": tensors[first].clone()}, folder / WEIGHTS
    )
    refused(home, store, bring, "does not have", folder, source="folder", base=str(models / "base"))


def test_keys_that_name_code_do_not_come_along(home, bring, models, files, tmp_path):
    config = json.loads(files[CONFIG]) | {
        "auto_mapping": {"base_model_class": "X", "parent_library": "evil"},
        "megatron_core": "evil",
    }
    row = bring(zipped(tmp_path, files | {CONFIG: json.dumps(config).encode()}), base=str(models / "base"))
    kept = json.loads((home.adapter(row["id"]) / CONFIG).read_text())
    assert not {"auto_mapping", "megatron_core"} & kept.keys()


def test_without_the_hub_a_sentence_says_so(home, store, bring, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    refused(home, store, bring, "hub cannot be reached", "owner/adapter", source="hub")


def test_a_stop_or_a_full_disk_leaves_nothing_behind(home, store, models, monkeypatch):
    from studio.jobs.job import Stopped

    def stop():
        raise Stopped

    payload = {"source": "folder", "place": str(models / "lora"), "base": str(models / "base")}
    job = SimpleNamespace(payload=payload, home=home, store=store, doing=lambda sentence: None, check_stop=stop)
    with pytest.raises(Stopped):
        import_adapter(job)
    job.check_stop = lambda: None
    monkeypatch.setattr(
        adapter_store, "sync_folder", lambda folder: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError):
        import_adapter(job)
    assert not store.adapters() and not list((home.root / "adapters").iterdir())


def test_the_page_says_what_it_imports(tmp_path):
    from studio.ui.library_import import payload

    assert payload("/x/mine.zip", "ignored", " starter ") == {
        "source": "zip",
        "place": "/x/mine.zip",
        "title": "mine.zip",
        "base": "starter",
    }
    assert payload(None, "owner/name", "")["source"] == "hub"
    assert payload(None, str(tmp_path), None) == {"source": "folder", "place": str(tmp_path), "base": None}
    with pytest.raises(StudioError):
        payload(None, " ", None)

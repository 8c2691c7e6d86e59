"""The library on disk: adding, finding, trash, and every torn state that a crash can leave."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml

from studio.library import adapter_store
from studio.words import StudioError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "finished"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"x" * 100)
    return folder


CARD = {
    "kind": "adapter",
    "method": "lora",
    "summary": "LoRA r=8",
    "artefact_type": "LORA",
    "base": "starter",
    "task": "chat",
    "data": "captain.jsonl",
    "rows": 400,
    "metrics": {"exact_match": 0.9},
    "recipe": {"name": "x", "training": {"epochs": 3}},
}


def put(home, store, source, adapter_id="a1", name="Captain", **card):
    return adapter_store.add(home, store, source=source, name=name, run_id=adapter_id, card={**CARD, **card})


def names(store, *args, **more):
    return [row["name"] for row in adapter_store.listing(store, *args, **more)]


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_add_writes_everything_and_can_be_repeated(home, store, source):
    for _ in range(2):
        assert put(home, store, source) == "a1"
    folder, card, name = adapter_store.find(home, store, "a1")
    assert files(folder) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "recipe.yaml",
        "studio.json",
    }
    assert yaml.safe_load((folder / "recipe.yaml").read_text()) == CARD["recipe"]
    assert name == "Captain" and card["bytes"] == 100 and card["finished"]
    assert json.loads((folder / "studio.json").read_text())["card"] == card
    assert len(list((home.root / "adapters").iterdir())) == 1 and len(store.adapters()) == 1


def test_a_failed_add_leaves_nothing(home, store, source, monkeypatch):
    monkeypatch.setattr(
        adapter_store, "sync_folder", lambda folder: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError):
        put(home, store, source)
    assert not list((home.root / "adapters").iterdir()) and not store.adapters()


def test_links_are_not_followed(home, store, source):
    (source / "secret").symlink_to("/etc/passwd")
    put(home, store, source)
    assert "secret" not in files(home.adapter("a1"))


@pytest.mark.parametrize("bad", ["../x", "a/b", "", ".hidden", "x/../../y", "a\x00b", "C:\\x"])
def test_bad_ids(home, store, source, bad):
    with pytest.raises(StudioError):
        put(home, store, source, adapter_id=bad)
    for action in (adapter_store.delete, adapter_store.restore, adapter_store.show, adapter_store.find):
        with pytest.raises(StudioError):
            action(home, store, bad)


def test_rename(home, store, source):
    put(home, store, source)
    adapter_store.rename(home, store, "a1", "  Der <b>Kapitän</b> ../ \n 船长 ")
    assert names(store) == ["Der <b>Kapitän</b> ../ 船长"]
    assert "<b>" not in (home.adapter("a1") / "README.md").read_text() and home.adapter("a1").name == "a1"
    for bad in ("", "   ", "x" * 121, "a\x07b"):
        with pytest.raises(StudioError):
            adapter_store.rename(home, store, "a1", bad)
    store.change_adapter("a1", name="lost")
    shutil.rmtree(home.adapter("a1"))
    with pytest.raises(StudioError):
        adapter_store.rename(home, store, "a1", "gone")


def test_search_and_sort(home, store, source):
    put(home, store, source, "a1", "Beta", metrics={"exact_match": 0.5})
    (source / "adapter_model.safetensors").write_bytes(b"x" * 50)
    put(
        home,
        store,
        source,
        "a2",
        "alpha",
        metrics={"eval_loss": 1.0},
        method="ia3",
        summary="(IA)³",
        base="Qwen/Qwen3-0.6B",
    )
    (source / "adapter_model.safetensors").write_bytes(b"x" * 200)
    put(home, store, source, "a3", "Gamma", metrics={}, data="tickets.csv")
    put(home, store, source, "a4", "delta", metrics={"exact_match": 0.9})
    assert names(store) == ["delta", "Gamma", "alpha", "Beta"]
    assert names(store, sort="name") == ["alpha", "Beta", "delta", "Gamma"]
    assert names(store, sort="metric") == ["delta", "Beta", "alpha", "Gamma"]
    assert names(store, sort="size")[0] == "alpha"
    assert (
        names(store, "TICKETS") == ["Gamma"]
        and names(store, "qwen ia") == ["alpha"]
        and names(store, "a1") == ["Beta"]
        and not names(store, "zzz")
    )
    assert names(store, base="starter") == ["delta", "Gamma", "Beta"]
    adapter_store.show(home, store, "a3")
    assert names(store, shown_only=True) == ["Gamma"]
    adapter_store.show(home, store, "a3", False)
    assert not names(store, shown_only=True)


def test_trash(home, store, source):
    put(home, store, source)
    adapter_store.delete(home, store, "a1")
    assert (
        not names(store)
        and names(store, deleted=True) == ["Captain"]
        and home.trash("a1").is_dir()
        and not home.adapter("a1").exists()
    )
    with pytest.raises(StudioError):
        adapter_store.find(home, store, "a1")
    with pytest.raises(StudioError):
        adapter_store.delete(home, store, "a1")
    adapter_store.restore(home, store, "a1")
    assert names(store) == ["Captain"] and adapter_store.find(home, store, "a1")
    with pytest.raises(StudioError):
        adapter_store.restore(home, store, "a1")
    adapter_store.delete(home, store, "a1")
    put(home, store, source, "a2", "Kept")
    assert adapter_store.empty_trash(home, store) == 1
    assert not home.trash("a1").exists() and names(store, deleted=True) == [] and names(store) == ["Kept"]
    put(home, store, source)
    adapter_store.delete(home, store, "a1")
    put(home, store, source)  # trained again after it was thrown away
    assert set(names(store)) == {"Captain", "Kept"} and not home.trash("a1").exists()


def torn_states(home, store, source):
    """Name → (what a crash left, does the adapter survive)."""
    adapters, trash = home.root / "adapters", home.root / "trash"

    def no_row():
        with store.transaction() as db:
            db.execute("DELETE FROM adapters")

    return {
        "folder without row": (no_row, True),
        "row without folder": (lambda: shutil.rmtree(adapters / "a1"), False),
        "delete: row changed, folder not moved": (lambda: store.change_adapter("a1", deleted=1.0), "trash"),
        "restore: folder moved, row not changed": (
            lambda: (
                store.change_adapter("a1", deleted=1.0),
                os.replace(adapters / "a1", trash / "a1"),
                os.replace(trash / "a1", adapters / "a1"),
            ),
            "trash",
        ),
        "moved by hand": (lambda: os.replace(adapters / "a1", trash / "a1"), True),
        "emptying: row gone, folder still there": (
            lambda: (os.replace(adapters / "a1", trash / "a1"), no_row()),
            False,
        ),
        "replacing: old one aside, new one not there": (
            lambda: os.replace(adapters / "a1", adapters / ".old-a1-1"),
            True,
        ),
        "folder without row and with torn words": (
            lambda: (no_row(), (adapters / "a1" / "studio.json").write_text("{")),
            "left alone",
        ),
    }


@pytest.mark.parametrize("state", range(8))
def test_torn_states_are_healed(home, store, source, state):
    put(home, store, source)
    name, (tear, survives) = list(torn_states(home, store, source).items())[state]
    tear()
    adapter_store.repair(home, store)
    assert adapter_store.repair(home, store) == [], name  # whatever it was, it is whole now
    if survives is True:
        folder, card, text = adapter_store.find(home, store, "a1")
        assert text == "Captain" and card["method"] == "lora" and "adapter_model.safetensors" in files(folder)
    elif survives == "trash":
        adapter_store.restore(home, store, "a1")
        assert adapter_store.find(home, store, "a1")
    else:
        assert not store.adapters() and not store.adapters(deleted=True)
        assert home.adapter("a1").exists() == (survives == "left alone") and not home.trash("a1").exists()


def test_half_written_folders_are_swept_when_old(home, store):
    for name, age in ((".half-a-1", 7200), (".half-b-2", 10)):
        folder = home.root / "adapters" / name
        folder.mkdir()
        (folder / "x").write_text("x")
        for path in (folder / "x", folder):
            stat = path.stat()
            os.utime(path, (stat.st_atime - age, stat.st_mtime - age))
    adapter_store.repair(home, store)
    assert [path.name for path in (home.root / "adapters").iterdir()] == [".half-b-2"]

"""Blends as previews: unlisted, the same for the same wish, answered by the chat engine, saved, discarded, swept."""

import json

import pytest
import torch

from studio.chat.engine import Engine
from studio.chat.sampling import Sampling
from studio.library import adapter_store, previews
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.words import StudioError
from tests.merging.test_convert import put, run


@pytest.fixture
def both(home, store, adapters):
    for name in ("a", "b"):
        put(home, store, adapters / name, adapters / "base", name, data=f"{name}.jsonl", rows=3)
    return {"adapters": ["a", "b"], "weights": [1.0, -0.5], "method": {"name": "svd", "rank": 3}}


def test_a_blend_is_tried_and_saved(home, store, adapters, both):
    preview = run(home, store, "blend", **both)["preview"]
    assert [row["id"] for row in adapter_store.listing(store)] == ["b", "a"]
    assert [row["id"] for row in store.previews()] == [preview]
    assert run(home, store, "blend", **both)["preview"] == preview  # already there
    engine = Engine(
        load_base(adapters / "base"),
        ChatTokenizer(adapters / "base"),
        name=str(adapters / "base"),
        find=lambda adapter: adapter_store.find(home, store, adapter)[:2],
        load_full_model=load_base,
    )

    def answer(adapter):
        found = []
        engine.chat(
            adapter, [{"role": "user", "content": "Hello"}], Sampling(max_tokens=12), found.append, lambda: False
        )
        return "".join(found)

    tried = answer(preview)
    assert len({tried, answer("a"), answer("b"), answer(None)}) == 4
    saved = previews.save(home, store, preview, "A without B")
    assert store.previews() == [] and not home.adapter(preview).exists()
    folder, card, name = adapter_store.find(home, store, saved)
    assert name == "A without B" and answer(saved) == tried
    assert card["parents"] == [
        {"id": "a", "name": "a", "relation": "blended", "weight": 1.0},
        {"id": "b", "name": "b", "relation": "blended", "weight": -0.5},
    ]
    assert card["data"] == "a.jsonl, b.jsonl" and card["summary"] == "blend (svd r=3)"
    assert 0 < card["made"]["error"] < 1 and json.loads((folder / "studio.json").read_text())["name"] == name
    adapter_store.repair(home, store)
    assert {row["id"] for row in adapter_store.listing(store)} == {"a", "b", saved}


def test_other_weights_are_another_preview(home, store, both):
    first = run(home, store, "blend", **both)["preview"]
    second = run(home, store, "blend", **both | {"weights": [1.0, 0.5]})["preview"]
    assert first != second and len(store.previews()) == 2
    previews.discard(home, store, first)
    with pytest.raises(StudioError):
        previews.save(home, store, first, "gone")
    assert [row["id"] for row in store.previews()] == [second]
    with pytest.raises(StudioError, match="A name must be one line"):
        previews.save(home, store, second, "  ")
    assert store.adapter(second)  # nothing is lost by a wrong name
    with pytest.raises(ValueError):
        previews.discard(home, store, "a")


def test_old_previews_are_swept(home, store, adapters, monkeypatch):
    monkeypatch.setattr(previews, "_MOST", 3)
    for at in range(5):
        previews.add(
            home, store, source=adapters / "a", name=f"p{at}", card={"base": "x"}, preview=previews.preview_id(str(at))
        )
    assert [row["name"] for row in store.previews()] == ["p4", "p3", "p2"]
    (home.root / "previews" / ".half-left").mkdir()
    monkeypatch.setattr(previews, "_LIFETIME", -1.0)
    assert previews.sweep(home, store) == 3
    assert store.previews() == [] and list((home.root / "previews").iterdir()) == []


def test_what_cannot_be_blended_leaves_nothing(home, store, adapters, both):
    put(home, store, adapters / "dora", adapters / "base", "dora")
    with pytest.raises(StudioError, match="“dora” uses DoRA"):
        run(home, store, "blend", **both | {"adapters": ["a", "dora"]})
    with pytest.raises(StudioError, match="Rank r of the blend must be at least 1"):
        run(home, store, "blend", **both | {"method": {"name": "svd", "rank": 0}})
    assert store.previews() == [] and list((home.root / "previews").iterdir()) == []
    assert torch.get_num_threads() == 1

"""Search, filters, order and pages of the library; notes, tags, lineage and the way out of the trash."""

from __future__ import annotations

import json
import shutil

import pytest

from studio.library import adapter_store, lineage, search
from studio.library.search import Query
from studio.words import StudioError
from tests.library.many import fill


@pytest.fixture
def many(home, store):
    fill(home, store, 60)
    return store


def ids(store, **query):
    found = search.matching(store, Query(**query))
    assert found == [row["id"] for row in search.find(store, Query(**query))]
    return found


def test_filters_agree_with_a_look_at_each_card(many):
    rows = many.adapters()
    base = "Qwen/Qwen3-0.6B"
    assert ids(many, base=base) == [row["id"] for row in rows if row["card"]["base"] == base]
    assert ids(many, method="ia3", task="chat") == [
        row["id"] for row in rows if row["card"]["method"] == "ia3" and row["card"]["task"] == "chat"
    ]
    assert ids(many, tag="GOOD") == [row["id"] for row in rows if "good" in row["card"]["tags"]]
    measured = [row for row in rows if "exact_match" in row["card"]["metrics"]]
    assert set(ids(many, metric="exact_match", bound=0.5)) == {
        row["id"] for row in measured if row["card"]["metrics"]["exact_match"] >= 0.5
    }
    assert set(ids(many, metric="eval_loss", bound=1.5)) == {
        row["id"] for row in measured if row["card"]["metrics"]["eval_loss"] <= 1.5
    }
    best = search.find(many, Query(metric="exact_match", sort="metric"))
    values = [row["card"]["metrics"]["exact_match"] for row in best]
    assert len(best) == len(measured) and values == sorted(values, reverse=True)
    sizes = [row["card"]["parameters"] for row in search.find(many, Query(sort="parameters"))]
    assert sizes == sorted(sizes)


def test_every_word_must_stand_somewhere_in_any_case_and_script(home, store):
    fill(home, store, 1)
    adapter_store.annotate(home, store, "adapter-0000", notes="Für Ærøskøbing\n第二行", tags=["Größe"])
    for words in ("ÆRØSKØBING starter", "第二行", "größe LORA"):
        assert ids(store, words=words) == ["adapter-0000"]
    assert not ids(store, words="ærøskøbing missing") and not ids(store, words="100%'; DROP TABLE adapters --")


def test_what_a_filter_offers_is_bounded_and_the_commonest_first(home, store):
    for at, adapter in enumerate(fill(home, store, 70)):
        card = store.adapter(adapter)["card"]
        store.change_adapter(adapter, card={**card, "tags": [f"tag {at}", "everywhere"]})
    found = search.choices(store)
    assert len(found["tag"]) == search.MOST_CHOICES and found["tag"][0] == "everywhere"
    assert set(found["method"]) == {"lora", "dora", "ia3", "vera", "lokr"}
    assert found["metric"] == ["exact_match", "eval_loss"]
    assert search.choices(store, deleted=True) == {key: [] for key in found}


def test_notes_and_tags_survive_a_lost_row(home, store):
    fill(home, store, 1)
    adapter_store.annotate(home, store, "adapter-0000", notes=" one\ntwo ", tags=["a  b", "A B", "c"])
    adapter_store.rename(home, store, "adapter-0000", "Kept")
    assert json.loads((home.adapter("adapter-0000") / "studio.json").read_text())["card"]["tags"] == ["a b", "c"]
    store.remove_adapter("adapter-0000")
    assert adapter_store.repair(home, store) == ["adapter-0000"]
    card = store.adapter("adapter-0000")["card"]
    assert (card["notes"], card["tags"]) == ("one\ntwo", ["a b", "c"])
    assert "two" in (home.adapter("adapter-0000") / "README.md").read_text()
    adapter_store.annotate(home, store, "adapter-0000", tags=[])
    assert store.adapter("adapter-0000")["card"]["tags"] == []


@pytest.mark.parametrize(
    "change",
    [{"tags": [""]}, {"tags": ["x" * 41]}, {"tags": ["a\x07"]}, {"tags": map(str, range(21))}, {"notes": "x" * 20_001}],
)
def test_too_much_is_refused_and_changes_nothing(home, store, change):
    fill(home, store, 1)
    before = store.adapter("adapter-0000")
    with pytest.raises(StudioError):
        adapter_store.annotate(home, store, "adapter-0000", **change)
    assert store.adapter("adapter-0000") == before


def test_lineage_holds_when_relatives_go(home, store):
    one, two, child = fill(home, store, 3)
    card = store.adapter(child)["card"]
    parents = [lineage.parent(one, "First", "blended"), lineage.parent(two, "Second", "blended")]
    store.change_adapter(child, card={**card, "parents": parents})
    assert [(found.name, found.where) for found in lineage.parents(store, store.adapter(child)["card"])] == [
        (store.adapter(one)["name"], "here"),
        (store.adapter(two)["name"], "here"),
    ]
    assert [(found.id, found.relation) for found in lineage.children(store, one)] == [(child, "blended")]
    adapter_store.delete(home, store, one)
    adapter_store.delete(home, store, two)
    adapter_store.remove(home, store, two)
    assert [(found.name, found.where) for found in lineage.parents(store, store.adapter(child)["card"])][1] == (
        "Second",
        "gone",
    )
    adapter_store.rename(home, store, child, "Child")
    text = (home.adapter(child) / "README.md").read_text()
    assert "Blended from: First, Second" in text
    adapter_store.delete(home, store, child)
    assert lineage.children(store, one)[0].where == "trash"
    with pytest.raises(ValueError):
        lineage.parent(one, "First", "cousin")


def test_one_adapter_leaves_the_trash_for_good(home, store):
    one, two = fill(home, store, 2)
    with pytest.raises(StudioError):
        adapter_store.remove(home, store, one)  # it is not in the trash
    adapter_store.delete(home, store, one)
    adapter_store.delete(home, store, two)
    adapter_store.remove(home, store, one)
    assert not home.trash(one).exists() and [row["id"] for row in store.adapters(deleted=True)] == [two]
    with pytest.raises(StudioError):
        adapter_store.restore(home, store, one)


def test_the_revision_rises_with_every_change_of_any_connection(home, store):
    from studio.store import Store

    seen = [store.revision("adapters")]

    def changed() -> bool:
        seen.append(store.revision("adapters"))
        return seen[-1] > seen[-2]

    fill(home, store, 1)
    assert changed() and not changed()
    Store(home.database).change_adapter("adapter-0000", name="x")
    assert changed()
    store.add_event("log", {})
    assert not changed()
    shutil.rmtree(home.adapter("adapter-0000"))
    adapter_store.repair(home, store)
    assert changed()


def test_a_merged_model_of_before_gets_its_parent(home, store):
    from studio.store import Store

    one, merged = fill(home, store, 2)
    card = store.adapter(merged)["card"]
    adapter_store.annotate(home, store, merged, notes="")
    old = {**card, "merged_from": one}
    store.change_adapter(merged, card=old)
    words = home.adapter(merged) / "studio.json"
    words.write_text(json.dumps({**json.loads(words.read_text()), "card": old}))
    with store.transaction() as db:
        db.execute("PRAGMA user_version = 1")
    found = Store(home.database).adapter(merged)["card"]
    name = store.adapter(one)["name"]
    assert found["parents"] == [lineage.parent(one, name, "merged")] and "merged_from" not in found
    assert json.loads(words.read_text())["card"]["parents"] == found["parents"]

"""Saved conversations: in the store for the owner, in memory for a visitor; search, rename, delete, export."""

import json

import pytest

from studio.chat.conversations import Conversations
from studio.store import Store
from studio.words import StudioError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "studio.sqlite3")


def saved(conversations, question, answer="Aye."):
    talk = conversations.new("starter")
    talk.show(["base"])
    talk.ask(question)
    if answer:
        talk.columns["base"].add("assistant", answer)
    conversations.save(talk)
    return talk


def test_the_owner_finds_them_again_after_a_restart(store, tmp_path):
    talk = saved(Conversations(store), "Where is the Ship?")
    again = Conversations(Store(tmp_path / "studio.sqlite3"))
    assert again.load(talk.id) == talk and again.listing() == [(talk.id, "Where is the Ship?")]
    assert again.load("unknown") is None and again.load("") is None


def test_search_looks_at_titles_and_texts_in_any_case(store):
    own = Conversations(store)
    ship = saved(own, "Where is the Ship?", "In the harbour.")
    saved(own, "灯塔在哪里？", "在海边。")
    assert [title for _, title in own.listing()] == ["灯塔在哪里？", "Where is the Ship?"]
    assert [id for id, _ in own.listing("HARBOUR ship")] == [ship.id]
    assert [title for _, title in own.listing("海边")] == ["灯塔在哪里？"] and not own.listing("harbour 海边")
    own.rename(ship.id, "  The   Fleet ")
    assert own.listing("fleet") == [(ship.id, "The Fleet")] and own.load(ship.id).title == "The Fleet"
    with pytest.raises(StudioError, match="title"):
        own.rename(ship.id, "  ")


def test_what_is_being_answered_is_one_object_for_everybody(store):
    own = Conversations(store)
    talk = saved(own, "Where?")
    with own.using(own.load(talk.id)) as live:
        other = own.load(talk.id)
        other.columns["base"].path()[-1].verdict = "up"
        live.columns["base"].add("user", "And now?")
    found = own.load(talk.id)
    assert found.columns["base"].path()[1].verdict == "up" and len(found.columns["base"].path()) == 3
    assert found is not live


def test_deleted_stays_deleted_even_while_it_is_answered(store):
    own = Conversations(store)
    talk = saved(own, "Where?")
    with own.using(talk):
        own.delete(talk.id)
    assert own.load(talk.id) is None and not own.listing()
    with pytest.raises(StudioError, match="does not exist"):
        own.rename(talk.id, "x")


def test_a_visitors_are_neither_stored_nor_seen_by_others(store):
    one, two = Conversations(store, "session one"), Conversations(store, "session two")
    talk = saved(one, "Secret?")
    assert one.load(talk.id) is talk and one.listing("secret") == [(talk.id, "Secret?")]
    assert two.load(talk.id) is None and not two.listing() and not Conversations(store).listing()
    assert store.conversation(talk.id) is None
    one.delete(talk.id)
    assert not one.listing()


def test_export_as_messages_of_one_or_all(store):
    own = Conversations(store)
    ship, _, unanswered = saved(own, "Where is the ship?"), saved(own, "Wo?", "Hafen – dort."), saved(own, "Hm?", "")
    ship.system = "Be brief."
    own.save(ship)
    rows = [json.loads(line) for line in own.exported("base").splitlines()]
    assert [len(row["messages"]) for row in rows] == [3, 2] and rows[0]["messages"][0]["role"] == "system"
    assert "Hafen – dort." in own.exported("base")
    assert [json.loads(own.exported("base", ship.id))["messages"]] == [ship.messages("base")]
    for model, id in (("base", unanswered.id), ("lora", ship.id)):
        with pytest.raises(StudioError, match="no answer"):
            own.exported(model, id)

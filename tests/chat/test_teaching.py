"""Judged and corrected answers as rows, read by `studio.data` as they are meant, with the right task chosen."""

import pytest

from studio.chat import teaching
from studio.chat.conversations import Conversations
from studio.draft import DraftEditor
from studio.home import Home
from studio.store import Store
from studio.words import StudioError


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store(home):
    return Store(home.database)


def talk_with(store, question="What is it?", system=""):
    conversations = Conversations(store)
    talk = conversations.new("starter")
    talk.system = system
    talk.show(["base", "lora"])
    for model in talk.ask(question):
        talk.columns[model].add("assistant", f"{question} {model}.")
    conversations.save(talk)
    return talk


def answer(talk, model):
    return talk.columns[model].path()[-1]


def test_a_good_answer_teaches_chat_and_feedback(store):
    talk = talk_with(store, system="Be brief.")
    answer(talk, "base").verdict = "up"
    found = teaching.rows([talk])
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}]
    told = {"role": "assistant", "content": "What is it? base."}
    assert found == {
        "chat": [{"messages": [*asked, told]}],
        "preference": [],
        "feedback": [{"prompt": asked, "completion": told["content"], "label": True}],
    }


def test_a_bad_answer_with_a_correction_is_a_pair(store):
    talk = talk_with(store)
    bad = answer(talk, "base")
    bad.verdict = "down"
    talk.correct("base", bad.id, "A lighthouse.")
    answer(talk, "lora").verdict = "up"
    found = teaching.rows([talk])
    pair = {"chosen": "A lighthouse.", "rejected": bad.content}
    assert [{key: row[key] for key in pair} for row in found["preference"]] == [pair]
    assert [row["messages"][-1]["content"] for row in found["chat"]] == ["A lighthouse.", "What is it? lora."]
    assert [row["label"] for row in found["feedback"]] == [False, True]


def test_a_bad_answer_beside_a_good_one_of_another_column_is_a_pair(store):
    talk = talk_with(store)
    answer(talk, "base").verdict, answer(talk, "lora").verdict = "down", "up"
    (row,) = teaching.rows([talk])["preference"]
    assert (row["chosen"], row["rejected"]) == ("What is it? lora.", "What is it? base.")
    other = talk_with(store, "Who?")
    answer(other, "lora").verdict = "up"
    assert len(teaching.rows([talk, other])["preference"]) == 1, "only answers to the same messages"


def test_a_correction_alone_teaches_chat(store):
    talk = talk_with(store)
    talk.correct("base", answer(talk, "base").id, "A lighthouse.")
    found = teaching.rows([talk])
    assert [len(found[task]) for task in teaching.TASKS] == [1, 0, 0]


def test_repeated_rows_are_one(store):
    talks = [talk_with(store), talk_with(store)]
    for talk in talks:
        answer(talk, "base").verdict = "up"
    assert len(teaching.rows(talks)["chat"]) == 1


@pytest.mark.parametrize("task", teaching.TASKS)
def test_the_data_tab_reads_each_dataset_as_it_is_meant(home, store, task):
    conversations = Conversations(store)
    for number in range(12):
        talk = talk_with(store, f"What is number {number}?", system="Be brief." if number % 2 else "")
        answer(talk, "base").verdict, answer(talk, "lora").verdict = "down", "up"
        conversations.save(talk)
    talk_with(store, "Not judged")
    editor = DraftEditor(home, store)
    path = teaching.write_dataset(store, home.uploads, task)
    editor.use(str(path))
    assert editor.draft()["task"]["name"] == task and path.parent.parent == home.uploads
    dataset = editor.preflight().dataset
    assert not editor.preflight().problems.get("data")
    records = [row.value for row in (*dataset.train, *dataset.validation)]
    assert len(records) == {"chat": 12, "preference": 12, "feedback": 24}[task]
    expected = {
        "chat": lambda record: record["messages"][-1]["content"].endswith("lora."),
        "preference": lambda r: r["chosen"].endswith("lora.") and r["rejected"].endswith("base."),
        "feedback": lambda record: record["label"] == record["completion"].endswith("lora."),
    }[task]
    assert all(map(expected, records))
    key = "messages" if task == "chat" else "prompt"
    assert {record[key][0]["role"] for record in records} == {"system", "user"}


def test_nothing_judged_is_said(home, store):
    talk_with(store)
    with pytest.raises(StudioError, match="judged or corrected"):
        teaching.write_dataset(store, home.uploads, "chat")

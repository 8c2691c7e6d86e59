"""Which answer is better, whether one was good, whether a list is one answer or several: what is proposed, what else
could be meant, and why."""

import json

import pytest

from studio.data.dataset import DataSpec, load
from studio.data.mapping import Mapping, apply
from studio.data.preference_rows import verdict
from studio.data.read import open_source
from studio.data.reading import NothingUsable
from studio.data.rows import Row, RowProblem
from studio.data.shape import propose


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def written(tmp_path, make, name="a.jsonl", count=8):
    path = tmp_path / name
    path.write_text("".join(json.dumps(make(n), ensure_ascii=False) + "\n" for n in range(count)), encoding="utf-8")
    return path


def proposal(tmp_path, make, want=None):
    return propose(open_source(written(tmp_path, make)), want)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda n: {"instruction": f"Which towns? From Bonn{n} to Kiel", "output": [f"Bonn{n}", "Kiel"]},
            "what they hold stands in the questions",
        ),
        (
            lambda n: {"instruction": f"Steps {n}", "output": '["Open the first door.", "Close the second door."]'},
            "they stand as text in the file",
        ),
        (
            lambda n: {
                "instruction": f"Steps {n}",
                "output": ["Open the first door.", "Close the second door.", "Go."][: 2 + n % 2],
            },
            "some are longer than others",
        ),
        (
            lambda n: {
                "instruction": f"Steps {n}",
                "output": ["Open the first door.", "Close the second door."] if n else ["Open it."],
            },
            "not every row has two or more different texts there",
        ),
        (
            lambda n: {
                "instruction": f"List the steps of plan {n}",
                "output": ["Open the first door.", "Close the second door."],
            },
            "the questions ask for lists",
        ),
        (lambda n: {"instruction": f"Colours {n}", "output": ["red", "blue"]}, "they hold single words"),
        (
            lambda n: {"question": f"Colours {n}", "answer": ["dark red", "light blue"]},
            "its name is that of one answer",
        ),
    ],
)
def test_a_list_that_is_one_answer(tmp_path, make, reason):
    found = proposal(tmp_path, make)
    assert found.mapping.shape in ("alpaca", "prompt_completion") and any(
        reason in str(sentence) for sentence in found.evidence
    )
    if "output" in make(0):
        assert (
            "ranked" in [other.shape for other in found.alternatives]
            and proposal(tmp_path, make, "preference").mapping.shape == "ranked"
        )


def test_a_ranking_offers_the_alternative_mapping(tmp_path):
    found = proposal(
        tmp_path,
        lambda n: {"instruction": f"Praise {n}", "output": [f"What a fine number {n} is.", "It is a number.", "No."]},
    )
    assert found.mapping.shape == "ranked" and "alpaca" in [other.shape for other in found.alternatives]
    assert any("If each list is one answer, choose the shape" in str(sentence) for sentence in found.evidence)


@pytest.mark.parametrize(
    ("column", "value", "good"),
    [
        ("kto_tag", True, True),
        ("label", "False", False),
        ("thumbs", "up", True),
        ("rating", -1, False),
        ("feedback", "negative", False),
        ("评价", "好", True),
        ("thumbs_down", True, False),
        ("Thumbs-Down", 0, True),
        ("is_bad", "bad", False),
        ("label", "perhaps", None),
        ("label", None, None),
    ],
)
def test_verdicts(column, value, good):
    assert verdict(value, column) is good


@pytest.mark.parametrize(
    "column", ["kto_tag", "label", "thumbs", "feedback", "is_good", "thumbs_down", "Liked", "评价"]
)
@pytest.mark.parametrize("values", [(True, False), (1, 0), ("yes", "no"), (False, False)])
def test_chat_does_not_train_on_bad_answers(tmp_path, column, values):
    """Whatever the column that judges a conversation is called and says: Chat learns those that it calls good, or
    none."""
    path = written(
        tmp_path,
        lambda n: {
            "id": n,
            "messages": [user(f"Say {n}"), assistant("Sure." if n % 2 else "Go away.")],
            column: values[n % 2] if n < 7 else None,
        },
    )
    assert propose(open_source(path), "messages").mapping.shape == "unpaired"
    bad = [value for value in values if not verdict(value, column)]
    if len(bad) == 2:
        with pytest.raises(NothingUsable, match="marked as bad"):
            load(DataSpec(source=str(path), validation_fraction=0), "messages")
        return
    dataset = load(DataSpec(source=str(path), validation_fraction=0), "messages")
    assert {record.number for record in dataset.train} == {
        n + 1 for n in range(7) if verdict(values[n % 2], column)
    } and dataset.counts.skipped.get("bad", 0) + dataset.counts.used == 7


def test_only_chat_trains_on_answers_with_tool_calls():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {}}}]}
    for shape, roles, row, want in (
        (
            "preference",
            {"prompt": "p", "chosen": "c", "rejected": "r"},
            {"p": "Look", "c": call, "r": "No"},
            "preference",
        ),
        (
            "preference",
            {"prompt": "p", "chosen": "c", "rejected": "r"},
            {"p": "Look", "c": "Yes", "r": [call]},
            "preference",
        ),
        ("unpaired", {"prompt": "p", "label": "l"}, {"p": [user("Look"), call], "l": True}, "unpaired"),
    ):
        with pytest.raises(RowProblem, match="calls tools, which cannot be trained on with judgements yet") as caught:
            apply(Mapping(shape=shape, roles=roles), Row(1, row), want)
        assert caught.value.kind == "calls"
    labelled = apply(
        Mapping(shape="preference", roles={"prompt": "p", "chosen": "c", "rejected": "r"}),
        Row(1, {"p": "Look", "c": call, "r": "No"}),
        "messages",
    )
    assert labelled["messages"][-1]["tool_calls"][0]["function"]["name"] == "look"


def test_the_conversation_may_hold_one_of_the_two_answers():
    roles = {"prompt": "m", "chosen": "c", "rejected": "r"}
    for last in ("Yes", "No"):
        row = {"m": [user("Say"), assistant(last)], "c": "Yes", "r": "No"}
        assert apply(Mapping(shape="preference", roles=roles), Row(1, row), "preference") == {
            "prompt": [user("Say")],
            "chosen": "Yes",
            "rejected": "No",
        }


def test_a_prompt_before_whole_conversations_is_kept():
    row = {
        "p": [{"role": "system", "content": "Be kind."}, user("Hi"), assistant("Hey")],
        "c": [user("Say"), assistant("Yes")],
        "r": [user("Say"), assistant("No")],
    }
    found = apply(
        Mapping(shape="preference", roles={"prompt": "p", "chosen": "c", "rejected": "r"}), Row(1, row), "preference"
    )
    assert found["prompt"] == [*row["p"], user("Say")]

"""How much of a turn is learnt, by the marks of other tools: factors of turns, of parts, and of runs of characters."""

import json

import pytest

from studio.data.turn_weights import MARKS, NEGATED
from studio.data.turns import turns
from tests.data.data_turns import PLACE, message_of, of, refused


@pytest.mark.parametrize(
    "keys, weight",
    [
        ({"weight": 1}, None),
        ({"weight": 0}, 0),
        ({"weight": 0.25}, 0.25),
        ({"weight": None}, None),
        ({"loss": False}, 0),
        ({"loss": True}, None),
        ({"loss": 0.5}, 0.5),
        ({"train": False}, 0),
        ({"train": True, "weight": 0.5}, 0.5),
        ({"train": False, "weight": 1}, 0),
        ({"loss_weight": 0.0}, 0),
        ({"loss_weight": 2}, 2),
        ({"loss": "false"}, 0),
        ({"weight": float("nan")}, None),
        ({"weight": "0"}, 0),
        ({"loss": None, "weight": None}, None),
        ({"trainable": False}, 0),
        ({"train_on_turn": False}, 0),
        ({"loss_mask": 0}, 0),
        ({"loss_mask": 1}, None),
        ({"step_loss_mask": 0}, 0),
        ({"masked": True}, 0),
        ({"masked": False}, None),
        ({"mask_loss": "true"}, 0),
        ({"no_loss": 1, "weight": 0.5}, 0),
    ],
)
def test_a_turns_weight(keys, weight):
    assert message_of(**keys).get("weight") == weight


@pytest.mark.parametrize("value", [-1, -0.5, "much", [1], {"a": 1}, float("inf")])
@pytest.mark.parametrize("key", (*MARKS, *NEGATED))
def test_what_is_no_weight_costs_the_row(key, value):
    assert f"with '{key}':" in refused({"role": "assistant", "content": "x", key: value})


def test_words_of_others_may_be_marked():
    asked = turns(
        [{"role": "user", "content": "a", "loss_weight": 0.0}, {"role": "assistant", "content": "b"}], PLACE, "m"
    )[0]
    assert asked == {"role": "user", "content": "a"}
    asked = turns([{"role": "user", "content": "a", "train": True}, {"role": "assistant", "content": "b"}], PLACE, "m")[
        0
    ]
    assert asked == {"role": "user", "content": "a", "weight": 1}


def test_axolotl_train_detail_offsets_are_inclusive():
    text = "I'm doing very well, thank you!"
    detail = [
        {"begin_offset": 0, "end_offset": 8, "train": False},
        {"begin_offset": 9, "end_offset": 18, "train": True},
    ]
    found = of({"role": "assistant", "content": text, "train_detail": detail})[0]["span_weights"]
    assert [(text[start:end], factor) for start, end, factor in found] == [("I'm doing", 0), (text[19:], 0)]
    found = of({"role": "assistant", "content": text, "thinking": "Be kind.", "train_detail": json.dumps(detail)})[0]
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [
        ("<think>\nBe kind.\n</think>\n\n", 0),
        ("I'm doing", 0),
        (text[19:], 0),
    ]
    for wrong in (
        [{"begin_offset": 0}],
        [{"begin_offset": 5, "end_offset": 2, "train": True}],
        "words",
        [{"begin_offset": -1, "end_offset": 2, "train": True}],
    ):
        assert "train_detail" in refused({"role": "assistant", "content": text, "train_detail": wrong})


def test_each_part_has_its_own_loss_weight():
    parts = [
        {"type": "text", "text": "Hm.", "train": False},
        {"type": "text", "text": " It is"},
        {"type": "text", "text": " 4.", "weight": 0.5},
    ]
    found = of({"role": "assistant", "content": parts, "reasoning": "Two and two."})[0]
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [
        ("Hm.", 0),
        (" 4.", 0.5),
    ]
    parts = [
        {"type": "thinking", "thinking": " Guess. ", "train": False},
        {"type": "thinking", "thinking": "Count."},
        {"type": "text", "text": "4"},
    ]
    found = of({"role": "assistant", "content": parts})[0]
    assert found["content"] == "<think>\nGuess. \nCount.\n</think>\n\n4"
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [("Guess. ", 0)]
    assert "span_weights" not in of({"role": "assistant", "content": parts, "weight": 0})[0]


def test_text_and_calls_with_different_weights():
    call = {"role": "tool_call", "content": '{"name": "f", "arguments": {}}'}
    made = {"type": "function", "function": {"name": "f", "arguments": {}}}
    assert of({"role": "assistant", "content": "Wait", "loss": False}, call) == [
        {"role": "assistant", "content": "Wait", "tool_calls": [made], "span_weights": [[0, 4, 0]]}
    ]
    assert of({"role": "assistant", "content": "Wait", "loss": False}, {**call, "loss": False}) == [
        {"role": "assistant", "content": "Wait", "tool_calls": [made], "weight": 0}
    ]
    assert "cannot be kept apart" in refused(call, {**call, "loss": False})
    assert "cannot be kept apart" in refused({"role": "assistant", "content": "Wait"}, {**call, "loss": False})
    thought, answer = (
        {"role": "assistant", "channel": "analysis", "content": "Hm."},
        {"role": "assistant", "channel": "final", "content": "4"},
    )
    assert of({**thought, "weight": 0}, answer) == [
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n4", "span_weights": [[0, 22, 0]]}
    ]
    assert of({**thought, "weight": 0.5}, {**answer, "weight": 0.25})[0] | {"content": ""} == {
        "role": "assistant",
        "content": "",
        "weight": 0.5,
        "span_weights": [[22, 23, 0.5]],
    }

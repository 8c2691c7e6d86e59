"""What is read of a turn: calls, parts, thoughts and media; and that nothing breaks the reading."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.data.calls import tool_schemas
from studio.data.rows import RowProblem
from studio.data.turns import turns, unwrapped
from tests.data.data_turns import PLACE, message_of, of, refused

KEYS = st.sampled_from(
    [
        "role",
        "from",
        "content",
        "value",
        "text",
        "parts",
        "type",
        "name",
        "arguments",
        "function",
        "tool_calls",
        "function_call",
        "functionCall",
        "toolUse",
        "toolResult",
        "input",
        "args",
        "id",
        "weight",
        "loss",
        "train",
        "train_detail",
        "begin_offset",
        "end_offset",
        "reasoning_content",
        "thinking",
        "thought",
        "channel",
        "recipient",
        "tool_use_id",
        "image_url",
        "inlineData",
        "parameters",
        "properties",
        "tools",
        "user",
        "assistant",
        "messages",
        "json",
        "functionResponse",
        "response",
    ]
)
SAID = st.sampled_from(
    [
        "user",
        "assistant",
        "function_call",
        "tool",
        "text",
        "tool_use",
        "tool_result",
        "thinking",
        "image",
        "analysis",
        "functions.f",
        "f",
        "{}",
        "[]",
        '{"name": "f"}',
        "[{'name': 'f'}]",
        "",
        "0",
    ]
)
anything = st.recursive(
    SAID | st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
messages = st.fixed_dictionaries({"role": SAID | anything, "content": anything}) | st.builds(
    lambda one, more: {**more, **one},
    st.fixed_dictionaries({"role": SAID}),
    st.dictionaries(KEYS, anything, max_size=5),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(messages | anything, min_size=1, max_size=3))
def test_any_value_gives_turns_or_a_studio_error(items):
    try:
        found = turns(unwrapped(items), PLACE, "m")
    except RowProblem as problem:
        assert str(problem).startswith("Line 1")
        problem.sentence.say("zh")
        return
    for turn in found:
        assert turn["role"] in ("system", "user", "assistant", "tool") and isinstance(turn["content"], str)
        assert turn.keys() <= {
            "role",
            "content",
            "tool_calls",
            "tool_call_id",
            "name",
            "weight",
            "span_weights",
            "media",
            "tools",
        }
        for call in turn.get("tool_calls", []):
            assert isinstance(call["function"]["name"], str) and isinstance(call["function"]["arguments"], dict)
        ends = [0]
        for start, end, factor in turn.get("span_weights", []):
            assert ends[-1] <= start < end <= len(turn["content"]) and factor >= 0 and factor != 1
            ends.append(end)
    json.dumps(found)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_any_tool_value_gives_schemas_or_a_studio_error(value):
    try:
        found = tool_schemas(value, PLACE)
    except RowProblem as problem:
        assert str(problem).startswith("Line 1")
    else:
        assert all(tool["type"] == "function" and isinstance(tool["function"]["name"], str) for tool in found)


@pytest.mark.parametrize(
    "call, arguments",
    [
        ({"name": "f", "arguments": {"a": None}}, {"a": None}),
        ({"name": "f", "arguments": '{"a": null}'}, {"a": None}),
        ({"name": "f", "arguments": ""}, {}),
        ({"name": "f", "arguments": None}, {}),
        ({"name": "f"}, {}),
        ({"name": "f", "parameters": {"a": 1}}, {"a": 1}),
        ({"name": "f", "arguments": "{'a': True, 'b': None}"}, {"a": True, "b": None}),
        ({"id": "c", "type": "function", "function": {"name": "f", "arguments": '"{\\"a\\": 1}"'}}, {"a": 1}),
        ({"function": "f", "arguments": {"a": 1}}, {"a": 1}),
    ],
)
def test_arguments_are_an_object(call, arguments):
    for content in (None, "", "Wait."):
        found = of({"role": "assistant", "content": content, "tool_calls": [call]})[0]
        assert found["tool_calls"][0]["function"] == {"name": "f", "arguments": arguments} and found["content"] == (
            content or ""
        )
        assert found["tool_calls"][0].get("id") == call.get("id")
    assert of({"from": "function_call", "value": json.dumps(call)}) == [
        {"role": "assistant", "content": "", "tool_calls": found["tool_calls"]}
    ]


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": "room 0"},
        {"name": "f", "arguments": [1]},
        {"arguments": {}},
        {"name": ""},
        "words",
        5,
    ],
)
def test_what_is_no_call_costs_the_row(call):
    assert "Line 1" in refused({"role": "assistant", "content": "", "tool_calls": [call]})


def test_thoughts_before_a_call_stay():
    found = of(
        {
            "role": "function_call",
            "content": '<think>\nLight.\n</think>\n\n{"name": "lamp", "arguments": {"room": "0"}}',
        }
    )
    assert found == [
        {
            "role": "assistant",
            "content": "<think>\nLight.\n</think>",
            "tool_calls": [{"type": "function", "function": {"name": "lamp", "arguments": {"room": "0"}}}],
        }
    ]


def test_no_calls_are_no_key():
    for nothing in (
        None,
        [],
        "",
        "[]",
        {},
        [None],
        {"name": None, "arguments": None},
        [{"id": None, "function": {"name": None, "arguments": None}}],
    ):
        assert of({"role": "assistant", "content": "x", "tool_calls": nothing, "function_call": None}) == [
            {"role": "assistant", "content": "x"}
        ]


def test_calls_written_as_words_stay_words():
    text = '<tool_call>\n{"name": "lamp", "arguments": {"room": null}}\n</tool_call>'
    assert of({"from": "gpt", "value": text}) == [{"role": "assistant", "content": text}]


def test_results_of_tools_that_are_no_text_are_json():
    found = turns(
        [
            {"role": "tool", "content": {"on": True, "at": None}},
            {"role": "tool", "content": [{"a": 1}]},
            {"role": "tool", "content": ["a", "b"]},
            {"role": "tool", "content": None},
            {"role": "tool", "content": [{"type": "text", "text": "ok"}], "tool_call_id": "c"},
        ],
        PLACE,
        "m",
    )
    assert [turn["content"] for turn in found] == [
        '{"on": true, "at": null}',
        '[{"a": 1}]',
        '["a", "b"]',
        "",
        "ok",
    ] and found[-1]["tool_call_id"] == "c"


def test_harmonys_channels_are_one_turn():
    found = of(
        {"role": "assistant", "channel": "analysis", "content": "Ask the clock."},
        {"role": "assistant", "channel": "commentary", "content": "One moment."},
        {"role": "assistant", "channel": "commentary", "recipient": "functions.clock", "content": '{"zone": "UTC"}'},
        {"role": "tool", "name": "functions.clock", "content": "10"},
        {"role": "assistant", "channel": "analysis", "content": "Ten."},
        {"role": "assistant", "channel": "final", "content": "It is 10.", "weight": 1},
    )
    assert found == [
        {
            "role": "assistant",
            "content": "<think>\nAsk the clock.\n</think>\n\nOne moment.",
            "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}],
        },
        {"role": "tool", "content": "10", "name": "clock"},
        {"role": "assistant", "content": "<think>\nTen.\n</think>\n\nIt is 10."},
    ]


def test_inline_reasoning_is_not_repeated():
    assert message_of(content="<think>\nTwo.\n</think>\n\n4", reasoning_content="Two.") == {
        "role": "assistant",
        "content": "<think>\nTwo.\n</think>\n\n4",
    }
    assert message_of(reasoning=None, thinking="") == {"role": "assistant", "content": "It is 4."}


@pytest.mark.parametrize(
    "part, medium",
    [
        ({"type": "image_url", "image_url": {"url": "a.png"}}, "image"),
        ({"type": "input_audio", "input_audio": {"data": ""}}, "audio"),
        ({"type": "video", "video": "a.mp4"}, "video"),
        ({"type": "image", "source": {"type": "base64"}}, "image"),
        ({"inlineData": {"mimeType": "audio/wav", "data": ""}}, "audio"),
        ({"image": {"format": "png"}}, "image"),
        ({"type": "document", "source": {}}, "file"),
        ({"type": "image_url", "value": "a.png"}, "image"),
        ({"type": "image", "text": None}, "image"),
    ],
)
def test_media_leave_a_mark_and_are_listed(part, medium):
    found = turns(
        [{"role": "user", "content": [part, {"type": "text", "text": "What is it?", "image_url": None}]}], PLACE, "m"
    )
    assert found == [{"role": "user", "content": f"<{medium}>What is it?", "media": [medium]}]
    assert "not text" in refused({"role": "user", "content": [part, {"type": "text", "text": " "}]})


def test_media_beside_the_words():
    assert of({"role": "user", "content": "What?", "images": ["a", "b"], "audio": None}) == [
        {"role": "user", "content": "<image><image>What?", "media": ["image", "image"]}
    ]
    assert of({"from": "human", "value": "<image>\nWhat?", "image": "a.png", "videos": []}) == [
        {"role": "user", "content": "<image>\nWhat?", "media": ["image"]}
    ]


def test_tools_that_the_system_turn_offers():
    found = of(
        {"role": "system", "content": "Be kind.", "tools": '[{"name": "f", "parameters": {}}]'},
        {"role": "system", "content": "a", "functions": []},
    )
    assert found == [
        {
            "role": "system",
            "content": "Be kind.",
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        },
        {"role": "system", "content": "a"},
    ]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "value": "4"}],
        [{"type": "text", "content": "4"}],
        [{"text": "4"}],
        [{"type": "output_text", "text": "4", "annotations": []}],
        {"text": "4"},
        {"type": "text", "text": "4"},
        {"content_type": "text", "parts": ["4"]},
        ["4"],
        [{"type": "text", "text": "4"}, {"type": "text", "text": None}],
        [{"text": "4"}, {"cachePoint": {"type": "default"}}],
    ],
)
def test_words_in_parts(content):
    assert of({"role": "assistant", "content": content}) == [{"role": "assistant", "content": "4"}]


def test_other_forms_of_turns():
    two = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for form in (
        [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}],
        [{"human": "a", "assistant": "b"}],
        [{"user": "a", "bot": "b", "id": 3}],
        '[{"human": "a", "gpt": "b"}]',
        "[{'user': 'a', 'assistant': 'b'}]",
        {"messages": [{"human": "a", "assistant": "b"}]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        [
            {"role": "user", "from": None, "content": "a", "value": None},
            {"role": None, "from": "gpt", "content": None, "value": "b"},
        ],
    ):
        assert [
            {"role": turn["role"], "content": turn["content"]} for turn in turns(unwrapped(form), PLACE, "m")
        ] == two, form
    asked = [{"question": "a", "answer": "b"}]
    assert unwrapped(asked) is asked  # pairs of other names are no speakers
    assert turns([{"system": "Be kind.", "human": "a", "assistant": "b", "loss": 0.5}], PLACE, "m") == [
        {"role": "system", "content": "Be kind."},
        two[0],
        {**two[1], "weight": 0.5},
    ]


def test_no_depth_breaks_the_reading():
    deep = "x"
    for _ in range(5000):
        deep = [{"type": "thinking", "thinking": deep}]
    assert "nested too deeply" in refused({"role": "assistant", "content": deep})

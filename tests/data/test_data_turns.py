"""One conversation, written as every tool writes it and kept in every kind of file, reads back as the same turns."""

import csv
import io
import json
import tempfile
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.data.calls import tool_schemas
from studio.data.read import open_source
from studio.data.reasoning import join_reasoning
from studio.data.rows import RowProblem
from studio.data.turn_weights import MARKS
from studio.data.turns import check_order, turns, unwrapped
from studio.words import Sentence

PLACE = Sentence("Line 1")
words = st.text("ab 'say\"[]{},:\\\n\tnone<>it's é中🙂0.5", min_size=1, max_size=24).filter(lambda text: text.strip() and "<" not in text)
names = st.sampled_from(["lamp", "get_time", "find"])
arguments = st.dictionaries(st.sampled_from(["room", "zone", "on"]), words, min_size=1, max_size=2)


@st.composite
def exchanges(draw, most_calls: int):
    """[user, (assistant with calls, results), assistant], the answer perhaps with thoughts and a weight."""
    found = [{"role": "user", "content": draw(words)}]
    if calls := draw(st.lists(st.tuples(names, arguments), max_size=most_calls)):
        made = [{"type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
        found.append({"role": "assistant", "content": draw(st.just("") | words), "tool_calls": made})
        found += [{"role": "tool", "content": draw(words)} for _ in calls]
    answer = {"role": "assistant", "content": draw(words)}
    if thoughts := draw(st.just("") | words):
        answer["thoughts"] = thoughts.strip()
    if (weight := draw(st.sampled_from([1, 0, 0.5]))) != 1:
        answer["weight"] = weight
    return [*found, answer]


def talks(most_calls: int = 3):
    system = st.just([]) | words.map(lambda text: [{"role": "system", "content": text}])
    return st.builds(lambda head, rest: sum(rest, head), system, st.lists(exchanges(most_calls), min_size=1, max_size=3))


def expected(talk: list[dict]) -> list[dict]:
    found = [{key: value for key, value in turn.items() if key != "thoughts"} for turn in talk]
    for turn, made in zip(talk, found, strict=True):
        made["content"] = join_reasoning(turn.get("thoughts", ""), turn["content"])
    return found


def openai(talk: list[dict], as_text: bool = True, mark: str = "weight") -> list[dict]:
    found = []
    for turn in talk:
        made = {"role": turn["role"], "content": turn["content"]}
        if "tool_calls" in turn:
            calls = [call["function"] for call in turn["tool_calls"]]
            made["content"] = turn["content"] or None
            made["tool_calls"] = [{"type": "function", "function": {**call, "arguments": json.dumps(call["arguments"]) if as_text else call["arguments"]}} for call in calls]
        found.append(made | ({"reasoning_content": turn["thoughts"]} if "thoughts" in turn else {}) | ({mark: turn["weight"]} if "weight" in turn else {}))
    return found


def legacy(talk: list[dict]) -> list[dict]:
    found = openai(talk)
    for turn in found:
        if calls := turn.pop("tool_calls", None):
            turn["function_call"] = calls[0]["function"]
        if turn["role"] == "tool":
            turn["role"] = "function"
    return found


def by_speakers(talk: list[dict], speaker: str, said: str, call: str, result: str, together: bool, mark: str) -> list[dict]:
    found = []
    people = {"user": "human", "assistant": "gpt", "tool": result} if speaker == "from" else {"tool": result}
    for turn in talk:
        calls = [call["function"] for call in turn.get("tool_calls", [])]
        if turn["content"] or not calls:
            made = {speaker: people.get(turn["role"], turn["role"]), said: turn["content"]}
            found.append(made | ({"thinking": turn["thoughts"]} if "thoughts" in turn else {}) | ({mark: turn["weight"]} if "weight" in turn else {}))
        held = [calls if len(calls) > 1 else calls[0]] if together and calls else calls
        found += [{speaker: call, said: json.dumps(one)} for one in held]
    return found


def sharegpt(talk: list[dict]) -> list[dict]:
    return by_speakers(talk, "from", "value", "function_call", "observation", True, "train")


def swift(talk: list[dict]) -> list[dict]:
    return by_speakers(talk, "role", "content", "tool_call", "tool_response", False, "loss")


def anthropic(talk: list[dict]) -> list[dict]:
    found = []
    for turn in talk:
        blocks = [{"type": "thinking", "thinking": turn["thoughts"], "signature": "s"}] if "thoughts" in turn else []
        blocks += [{"type": "text", "text": turn["content"]}] if turn["content"] and turn["role"] != "tool" else []
        blocks += [{"type": "tool_use", "name": call["function"]["name"], "input": call["function"]["arguments"]} for call in turn.get("tool_calls", [])]
        if turn["role"] == "tool":
            blocks = [{"type": "tool_result", "content": turn["content"]}]
            if found[-1]["role"] == "user":
                found[-1]["content"] += blocks
                continue
        found.append({"role": "user" if turn["role"] == "tool" else turn["role"], "content": blocks} | ({"weight": turn["weight"]} if "weight" in turn else {}))
    return found


def gemini(talk: list[dict]) -> list[dict]:
    found = []
    for turn in talk:
        parts = [{"text": turn["thoughts"], "thought": True}] if "thoughts" in turn else []
        parts += [{"text": turn["content"]}] if turn["content"] and turn["role"] != "tool" else []
        parts += [{"functionCall": {"name": call["function"]["name"], "args": call["function"]["arguments"]}} for call in turn.get("tool_calls", [])]
        if turn["role"] == "tool":
            parts = [{"functionResponse": {"response": turn["content"]}}]
        role = {"assistant": "model", "tool": "function"}.get(turn["role"], turn["role"])
        found.append({"role": role, "parts": parts} | ({"weight": turn["weight"]} if "weight" in turn else {}))
    return found


def bedrock(talk: list[dict]) -> list[dict]:
    found = []
    for turn in talk:
        parts = [{"reasoningContent": {"reasoningText": {"text": turn["thoughts"]}}}] if "thoughts" in turn else []
        parts += [{"text": turn["content"]}] if turn["content"] and turn["role"] != "tool" else []
        parts += [{"toolUse": {"name": call["function"]["name"], "input": call["function"]["arguments"]}} for call in turn.get("tool_calls", [])]
        if turn["role"] == "tool":
            parts = [{"toolResult": {"content": [{"text": turn["content"]}], "status": "success"}}]
        found.append({"role": "user" if turn["role"] == "tool" else turn["role"], "content": parts} | ({"weight": turn["weight"]} if "weight" in turn else {}))
    return found


FORMS = {
    "openai": openai, "openai objects": lambda talk: openai(talk, as_text=False), "sharegpt": sharegpt, "swift": swift, "anthropic": anthropic,
    "gemini": gemini, "bedrock": bedrock, **{mark: lambda talk, mark=mark: openai(talk, mark=mark) for mark in MARKS},
}


def in_csv(cells: list[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["id", "messages"], *([index, cell] for index, cell in enumerate(cells))])
    return file.getvalue().encode()


def printed_by_numpy(talk: list) -> str:
    held = numpy.empty(len(talk), dtype=object)
    held[:] = talk
    return str(held)


def in_parquet(talks: list) -> bytes:
    file = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist([{"messages": talk} for talk in talks]), file)
    return file.getvalue()


CONTAINERS = {
    "jsonl": ("a.jsonl", lambda talks: "".join(json.dumps({"messages": talk}) + "\n" for talk in talks).encode()),
    "json": ("a.json", lambda talks: json.dumps({"data": {"conversations": talks}}).encode()),
    "csv of json": ("a.csv", lambda talks: in_csv([json.dumps(talk) for talk in talks])),
    "csv of python": ("a.csv", lambda talks: in_csv([repr(talk) for talk in talks])),
    "csv of numpy": ("a.csv", lambda talks: in_csv([printed_by_numpy(talk) for talk in talks])),
    "parquet": ("a.parquet", in_parquet),
}


def read_back(name: str, data: bytes) -> list[list[dict]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        source = open_source(path)
        rows = list(source.rows())
        assert not source.problems.rows, [str(problem.sentence) for problem in source.problems]
        return [check_order(turns(unwrapped(row.values["messages"]), PLACE, "messages"), PLACE) for row in rows]


@pytest.mark.parametrize("container", CONTAINERS)
@settings(deadline=None, max_examples=40)
@given(talks=st.lists(talks(), min_size=2, max_size=3), form=st.sampled_from(sorted(FORMS)))
def test_every_form_in_every_container_reads_the_same(container, talks, form):
    name, write = CONTAINERS[container]
    assert read_back(name, write([FORMS[form](talk) for talk in talks])) == [expected(talk) for talk in talks]


@settings(deadline=None, max_examples=40)
@given(talk=talks(most_calls=1), container=st.sampled_from(sorted(CONTAINERS)))
def test_the_older_form_of_calls(talk, container):
    name, write = CONTAINERS[container]
    assert read_back(name, write([legacy(talk), legacy(talk)])) == [expected(talk)] * 2


KEYS = st.sampled_from([
    "role", "from", "content", "value", "text", "parts", "type", "name", "arguments", "function", "tool_calls", "function_call", "functionCall", "toolUse", "toolResult", "input", "args", "id",
    "weight", "loss", "train", "train_detail", "begin_offset", "end_offset", "reasoning_content", "thinking", "thought", "channel", "recipient", "tool_use_id", "image_url", "inlineData",
    "parameters", "properties", "tools", "user", "assistant", "messages", "json", "functionResponse", "response",
])
SAID = st.sampled_from(["user", "assistant", "function_call", "tool", "text", "tool_use", "tool_result", "thinking", "image", "analysis", "functions.f", "f", "{}", "[]", '{"name": "f"}', "[{'name': 'f'}]", "", "0"])
anything = st.recursive(
    SAID | st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12,
)
messages = st.fixed_dictionaries({"role": SAID | anything, "content": anything}) | st.builds(lambda one, more: {**more, **one}, st.fixed_dictionaries({"role": SAID}), st.dictionaries(KEYS, anything, max_size=5))


@settings(max_examples=250, deadline=None)
@given(st.lists(messages | anything, min_size=1, max_size=3))
def test_whatever_stands_there_gives_turns_or_a_sentence(items):
    try:
        found = turns(unwrapped(items), PLACE, "m")
    except RowProblem as problem:
        assert str(problem).startswith("Line 1")
        problem.sentence.say("zh")
        return
    for turn in found:
        assert turn["role"] in ("system", "user", "assistant", "tool") and isinstance(turn["content"], str)
        assert turn.keys() <= {"role", "content", "tool_calls", "tool_call_id", "name", "weight", "span_weights", "media"}
        for call in turn.get("tool_calls", []):
            assert isinstance(call["function"]["name"], str) and isinstance(call["function"]["arguments"], dict)
        ends = [0]
        for start, end, factor in turn.get("span_weights", []):
            assert ends[-1] <= start < end <= len(turn["content"]) and factor >= 0 and factor != 1
            ends.append(end)
    json.dumps(found)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_whatever_is_called_a_tool_gives_schemas_or_a_sentence(value):
    try:
        found = tool_schemas(value, PLACE)
    except RowProblem as problem:
        assert str(problem).startswith("Line 1")
    else:
        assert all(tool["type"] == "function" and isinstance(tool["function"]["name"], str) for tool in found)


def of(*items) -> list[dict]:
    return turns([{"role": "user", "content": "hi"}, *items], PLACE, "m")[1:]


def refused(*items) -> str:
    with pytest.raises(RowProblem) as caught:
        of(*items)
    return str(caught.value)


def said(**keys) -> dict:
    return of({"role": "assistant", "content": "It is 4.", **keys})[0]


@pytest.mark.parametrize("keys, weight", [
    ({"weight": 1}, None), ({"weight": 0}, 0), ({"weight": 0.25}, 0.25), ({"weight": None}, None), ({"loss": False}, 0), ({"loss": True}, None), ({"loss": 0.5}, 0.5),
    ({"train": False}, 0), ({"train": True, "weight": 0.5}, 0.5), ({"train": False, "weight": 1}, 0), ({"loss_weight": 0.0}, 0), ({"loss_weight": 2}, 2),
    ({"loss": "false"}, 0), ({"weight": float("nan")}, None), ({"weight": "0"}, 0), ({"loss": None, "weight": None}, None),
])
def test_a_turns_weight(keys, weight):
    assert said(**keys).get("weight") == weight


@pytest.mark.parametrize("value", [-1, -0.5, "much", [1], {"a": 1}, float("inf")])
@pytest.mark.parametrize("key", MARKS)
def test_what_is_no_weight_costs_the_row(key, value):
    assert f"with '{key}':" in refused({"role": "assistant", "content": "x", key: value})


def test_words_of_others_may_be_marked():
    asked = turns([{"role": "user", "content": "a", "loss_weight": 0.0}, {"role": "assistant", "content": "b"}], PLACE, "m")[0]
    assert asked == {"role": "user", "content": "a"}
    asked = turns([{"role": "user", "content": "a", "train": True}, {"role": "assistant", "content": "b"}], PLACE, "m")[0]
    assert asked == {"role": "user", "content": "a", "weight": 1}


def test_axolotls_offsets_are_both_inside_and_nothing_else_is_learnt():
    text = "I'm doing very well, thank you!"
    detail = [{"begin_offset": 0, "end_offset": 8, "train": False}, {"begin_offset": 9, "end_offset": 18, "train": True}]
    found = of({"role": "assistant", "content": text, "train_detail": detail})[0]["span_weights"]
    assert [(text[start:end], factor) for start, end, factor in found] == [("I'm doing", 0), (text[19:], 0)]
    found = of({"role": "assistant", "content": text, "thinking": "Be kind.", "train_detail": json.dumps(detail)})[0]
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [
        ("<think>\nBe kind.\n</think>\n\n", 0), ("I'm doing", 0), (text[19:], 0)]
    for wrong in ([{"begin_offset": 0}], [{"begin_offset": 5, "end_offset": 2, "train": True}], "words", [{"begin_offset": -1, "end_offset": 2, "train": True}]):
        assert "train_detail" in refused({"role": "assistant", "content": text, "train_detail": wrong})


def test_parts_are_learnt_as_each_says():
    parts = [{"type": "text", "text": "Hm.", "train": False}, {"type": "text", "text": " It is"}, {"type": "text", "text": " 4.", "weight": 0.5}]
    found = of({"role": "assistant", "content": parts, "reasoning": "Two and two."})[0]
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [("Hm.", 0), (" 4.", 0.5)]
    parts = [{"type": "thinking", "thinking": " Guess. ", "train": False}, {"type": "thinking", "thinking": "Count."}, {"type": "text", "text": "4"}]
    found = of({"role": "assistant", "content": parts})[0]
    assert found["content"] == "<think>\nGuess. \nCount.\n</think>\n\n4"
    assert [(found["content"][start:end], factor) for start, end, factor in found["span_weights"]] == [("Guess. ", 0)]
    assert "span_weights" not in of({"role": "assistant", "content": parts, "weight": 0})[0]


def test_words_and_calls_that_are_marked_apart():
    call = {"role": "tool_call", "content": '{"name": "f", "arguments": {}}'}
    made = {"type": "function", "function": {"name": "f", "arguments": {}}}
    assert of({"role": "assistant", "content": "Wait", "loss": False}, call) == [{"role": "assistant", "content": "Wait", "tool_calls": [made], "span_weights": [[0, 4, 0]]}]
    assert of({"role": "assistant", "content": "Wait", "loss": False}, {**call, "loss": False}) == [{"role": "assistant", "content": "Wait", "tool_calls": [made], "weight": 0}]
    assert "cannot be kept apart" in refused(call, {**call, "loss": False})
    assert "cannot be kept apart" in refused({"role": "assistant", "content": "Wait"}, {**call, "loss": False})
    thought, answer = {"role": "assistant", "channel": "analysis", "content": "Hm."}, {"role": "assistant", "channel": "final", "content": "4"}
    assert of({**thought, "weight": 0}, answer) == [{"role": "assistant", "content": "<think>\nHm.\n</think>\n\n4", "span_weights": [[0, 22, 0]]}]
    assert of({**thought, "weight": 0.5}, {**answer, "weight": 0.25})[0] | {"content": ""} == {"role": "assistant", "content": "", "weight": 0.5, "span_weights": [[22, 23, 0.5]]}


@pytest.mark.parametrize("call, arguments", [
    ({"name": "f", "arguments": {"a": None}}, {"a": None}), ({"name": "f", "arguments": '{"a": null}'}, {"a": None}), ({"name": "f", "arguments": ""}, {}),
    ({"name": "f", "arguments": None}, {}), ({"name": "f"}, {}), ({"name": "f", "parameters": {"a": 1}}, {"a": 1}), ({"name": "f", "arguments": "{'a': True, 'b': None}"}, {"a": True, "b": None}),
    ({"id": "c", "type": "function", "function": {"name": "f", "arguments": '"{\\"a\\": 1}"'}}, {"a": 1}), ({"function": "f", "arguments": {"a": 1}}, {"a": 1}),
])
def test_arguments_are_an_object(call, arguments):
    for content in (None, "", "Wait."):
        found = of({"role": "assistant", "content": content, "tool_calls": [call]})[0]
        assert found["tool_calls"][0]["function"] == {"name": "f", "arguments": arguments} and found["content"] == (content or "")
        assert found["tool_calls"][0].get("id") == call.get("id")
    assert of({"from": "function_call", "value": json.dumps(call)}) == [{"role": "assistant", "content": "", "tool_calls": found["tool_calls"]}]


@pytest.mark.parametrize("call", [{"name": "f", "arguments": "room 0"}, {"name": "f", "arguments": [1]}, {"arguments": {}}, {"name": ""}, "words", 5])
def test_what_is_no_call_costs_the_row(call):
    assert "Line 1" in refused({"role": "assistant", "content": "", "tool_calls": [call]})


def test_thoughts_before_a_call_stay():
    found = of({"role": "function_call", "content": '<think>\nLight.\n</think>\n\n{"name": "lamp", "arguments": {"room": "0"}}'})
    assert found == [{"role": "assistant", "content": "<think>\nLight.\n</think>", "tool_calls": [{"type": "function", "function": {"name": "lamp", "arguments": {"room": "0"}}}]}]


def test_no_calls_are_no_key():
    for nothing in (None, [], "", "[]", {}, [None], {"name": None, "arguments": None}, [{"id": None, "function": {"name": None, "arguments": None}}]):
        assert of({"role": "assistant", "content": "x", "tool_calls": nothing, "function_call": None}) == [{"role": "assistant", "content": "x"}]


def test_calls_written_as_words_stay_words():
    text = '<tool_call>\n{"name": "lamp", "arguments": {"room": null}}\n</tool_call>'
    assert of({"from": "gpt", "value": text}) == [{"role": "assistant", "content": text}]


def test_results_of_tools_that_are_no_text_are_json():
    found = turns([{"role": "tool", "content": {"on": True, "at": None}}, {"role": "tool", "content": [{"a": 1}]}, {"role": "tool", "content": ["a", "b"]},
                   {"role": "tool", "content": None}, {"role": "tool", "content": [{"type": "text", "text": "ok"}], "tool_call_id": "c"}], PLACE, "m")
    assert [turn["content"] for turn in found] == ['{"on": true, "at": null}', '[{"a": 1}]', '["a", "b"]', "", "ok"] and found[-1]["tool_call_id"] == "c"


def test_harmonys_channels_are_one_turn():
    found = of(
        {"role": "assistant", "channel": "analysis", "content": "Ask the clock."}, {"role": "assistant", "channel": "commentary", "content": "One moment."},
        {"role": "assistant", "channel": "commentary", "recipient": "functions.clock", "content": '{"zone": "UTC"}'},
        {"role": "tool", "name": "functions.clock", "content": "10"}, {"role": "assistant", "channel": "analysis", "content": "Ten."},
        {"role": "assistant", "channel": "final", "content": "It is 10.", "weight": 1},
    )
    assert found == [
        {"role": "assistant", "content": "<think>\nAsk the clock.\n</think>\n\nOne moment.", "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}]},
        {"role": "tool", "content": "10", "name": "clock"}, {"role": "assistant", "content": "<think>\nTen.\n</think>\n\nIt is 10."},
    ]


def test_thoughts_that_stand_inline_are_not_said_twice():
    assert said(content="<think>\nTwo.\n</think>\n\n4", reasoning_content="Two.") == {"role": "assistant", "content": "<think>\nTwo.\n</think>\n\n4"}
    assert said(reasoning=None, thinking="") == {"role": "assistant", "content": "It is 4."}


@pytest.mark.parametrize("part, medium", [
    ({"type": "image_url", "image_url": {"url": "a.png"}}, "image"), ({"type": "input_audio", "input_audio": {"data": ""}}, "audio"), ({"type": "video", "video": "a.mp4"}, "video"),
    ({"type": "image", "source": {"type": "base64"}}, "image"), ({"inlineData": {"mimeType": "audio/wav", "data": ""}}, "audio"), ({"image": {"format": "png"}}, "image"),
    ({"type": "document", "source": {}}, "file"), ({"type": "image_url", "value": "a.png"}, "image"), ({"type": "image", "text": None}, "image"),
])
def test_media_leave_a_mark_and_are_listed(part, medium):
    found = turns([{"role": "user", "content": [part, {"type": "text", "text": "What is it?", "image_url": None}]}], PLACE, "m")
    assert found == [{"role": "user", "content": f"<{medium}>What is it?", "media": [medium]}]
    assert "not text" in refused({"role": "user", "content": [part, {"type": "text", "text": " "}]})


@pytest.mark.parametrize("content", [
    [{"type": "text", "value": "4"}], [{"type": "text", "content": "4"}], [{"text": "4"}], [{"type": "output_text", "text": "4", "annotations": []}], {"text": "4"},
    {"type": "text", "text": "4"}, {"content_type": "text", "parts": ["4"]}, ["4"], [{"type": "text", "text": "4"}, {"type": "text", "text": None}], [{"text": "4"}, {"cachePoint": {"type": "default"}}],
])
def test_words_in_parts(content):
    assert of({"role": "assistant", "content": content}) == [{"role": "assistant", "content": "4"}]


def test_other_forms_of_turns():
    two = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for form in (
        [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}], [{"human": "a", "assistant": "b"}], [{"user": "a", "bot": "b", "id": 3}], '[{"human": "a", "gpt": "b"}]',
        "[{'user': 'a', 'assistant': 'b'}]", {"messages": [{"human": "a", "assistant": "b"}]}, {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        [{"role": "user", "from": None, "content": "a", "value": None}, {"role": None, "from": "gpt", "content": None, "value": "b"}],
    ):
        assert [{"role": turn["role"], "content": turn["content"]} for turn in turns(unwrapped(form), PLACE, "m")] == two, form
    asked = [{"question": "a", "answer": "b"}]
    assert unwrapped(asked) is asked  # pairs of other names are no speakers
    assert turns([{"system": "Be kind.", "human": "a", "assistant": "b", "loss": 0.5}], PLACE, "m") == [{"role": "system", "content": "Be kind."}, two[0], {**two[1], "weight": 0.5}]


def test_no_depth_breaks_the_reading():
    deep = "x"
    for _ in range(5000):
        deep = [{"type": "thinking", "thinking": deep}]
    assert "nested too deeply" in refused({"role": "assistant", "content": deep})

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

from studio.data.read import open_source
from studio.data.reasoning import join_reasoning
from studio.data.turn_weights import MARKS
from studio.data.turns import check_order, turns, unwrapped
from studio.words import Sentence

PLACE = Sentence("Line 1")
words = st.text("ab 'say\"[]{},:\\\n\tnone<>it's é中🙂0.5", min_size=1, max_size=24).filter(
    lambda text: text.strip() and "<" not in text
)
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


def conversations(most_calls: int = 3):
    system = st.just([]) | words.map(lambda text: [{"role": "system", "content": text}])
    return st.builds(
        lambda head, rest: sum(rest, head), system, st.lists(exchanges(most_calls), min_size=1, max_size=3)
    )


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
            made["tool_calls"] = [
                {
                    "type": "function",
                    "function": {**call, "arguments": json.dumps(call["arguments"]) if as_text else call["arguments"]},
                }
                for call in calls
            ]
        found.append(
            made
            | ({"reasoning_content": turn["thoughts"]} if "thoughts" in turn else {})
            | ({mark: turn["weight"]} if "weight" in turn else {})
        )
    return found


def legacy(talk: list[dict]) -> list[dict]:
    found = openai(talk)
    for turn in found:
        if calls := turn.pop("tool_calls", None):
            turn["function_call"] = calls[0]["function"]
        if turn["role"] == "tool":
            turn["role"] = "function"
    return found


def by_speakers(
    talk: list[dict], speaker: str, text: str, call: str, result: str, together: bool, mark: str
) -> list[dict]:
    found = []
    people = {"user": "human", "assistant": "gpt", "tool": result} if speaker == "from" else {"tool": result}
    for turn in talk:
        calls = [call["function"] for call in turn.get("tool_calls", [])]
        if turn["content"] or not calls:
            made = {speaker: people.get(turn["role"], turn["role"]), text: turn["content"]}
            found.append(
                made
                | ({"thinking": turn["thoughts"]} if "thoughts" in turn else {})
                | ({mark: turn["weight"]} if "weight" in turn else {})
            )
        held = [calls if len(calls) > 1 else calls[0]] if together and calls else calls
        found += [{speaker: call, text: json.dumps(one)} for one in held]
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
        blocks += [
            {"type": "tool_use", "name": call["function"]["name"], "input": call["function"]["arguments"]}
            for call in turn.get("tool_calls", [])
        ]
        if turn["role"] == "tool":
            blocks = [{"type": "tool_result", "content": turn["content"]}]
            if found[-1]["role"] == "user":
                found[-1]["content"] += blocks
                continue
        found.append(
            {"role": "user" if turn["role"] == "tool" else turn["role"], "content": blocks}
            | ({"weight": turn["weight"]} if "weight" in turn else {})
        )
    return found


def gemini(talk: list[dict]) -> list[dict]:
    found = []
    for turn in talk:
        parts = [{"text": turn["thoughts"], "thought": True}] if "thoughts" in turn else []
        parts += [{"text": turn["content"]}] if turn["content"] and turn["role"] != "tool" else []
        parts += [
            {"functionCall": {"name": call["function"]["name"], "args": call["function"]["arguments"]}}
            for call in turn.get("tool_calls", [])
        ]
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
        parts += [
            {"toolUse": {"name": call["function"]["name"], "input": call["function"]["arguments"]}}
            for call in turn.get("tool_calls", [])
        ]
        if turn["role"] == "tool":
            parts = [{"toolResult": {"content": [{"text": turn["content"]}], "status": "success"}}]
        found.append(
            {"role": "user" if turn["role"] == "tool" else turn["role"], "content": parts}
            | ({"weight": turn["weight"]} if "weight" in turn else {})
        )
    return found


FORMS = {
    "openai": openai,
    "openai objects": lambda talk: openai(talk, as_text=False),
    "sharegpt": sharegpt,
    "swift": swift,
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
    **{mark: lambda talk, mark=mark: openai(talk, mark=mark) for mark in MARKS},
}


def in_csv(cells: list[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["id", "messages"], *([index, cell] for index, cell in enumerate(cells))])
    return file.getvalue().encode()


def printed_by_numpy(talk: list) -> str:
    held = numpy.empty(len(talk), dtype=object)
    held[:] = talk
    return str(held)


def in_parquet(conversations: list) -> bytes:
    file = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist([{"messages": talk} for talk in conversations]), file)
    return file.getvalue()


CONTAINERS = {
    "jsonl": (
        "a.jsonl",
        lambda conversations: "".join(json.dumps({"messages": talk}) + "\n" for talk in conversations).encode(),
    ),
    "json": ("a.json", lambda conversations: json.dumps({"data": {"conversations": conversations}}).encode()),
    "csv of json": ("a.csv", lambda conversations: in_csv([json.dumps(talk) for talk in conversations])),
    "csv of python": ("a.csv", lambda conversations: in_csv([repr(talk) for talk in conversations])),
    "csv of numpy": ("a.csv", lambda conversations: in_csv([printed_by_numpy(talk) for talk in conversations])),
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
@given(conversations=st.lists(conversations(), min_size=2, max_size=3), form=st.sampled_from(sorted(FORMS)))
def test_every_form_in_every_container_reads_the_same(container, conversations, form):
    name, write = CONTAINERS[container]
    assert read_back(name, write([FORMS[form](talk) for talk in conversations])) == [
        expected(talk) for talk in conversations
    ]


@settings(deadline=None, max_examples=40)
@given(talk=conversations(most_calls=1), container=st.sampled_from(sorted(CONTAINERS)))
def test_the_older_form_of_calls(talk, container):
    name, write = CONTAINERS[container]
    assert read_back(name, write([legacy(talk), legacy(talk)])) == [expected(talk)] * 2

"""Tool schemas in every form become OpenAI's; a typed table's nulls are taken out of calls and schemas, and of nothing
else."""

import io
import json

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from studio.data.calls import tool_schemas, without_fill
from studio.data.read import open_source
from studio.data.rows import RowProblem
from studio.words import Sentence

PLACE = Sentence("Line 1")
PARAMETERS = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
LAMP = {"name": "lamp", "description": "Switch a lamp", "parameters": PARAMETERS}
WANTED = [{"type": "function", "function": LAMP}]
FORMS = [
    WANTED,
    [LAMP],
    LAMP,
    WANTED[0],
    {"tools": WANTED},
    {"functions": [LAMP]},
    {"lamp": {key: LAMP[key] for key in ("description", "parameters")}},
    [json.dumps(LAMP)],
    [{"type": "function", **LAMP}],
    [{"type": "function", "function": json.dumps(LAMP)}],
    [{**LAMP, "parameters": json.dumps(PARAMETERS)}],
    [{"name": "lamp", "description": "Switch a lamp", "input_schema": PARAMETERS}],
    [{"functionDeclarations": [LAMP]}],
    [{"toolSpec": {"name": "lamp", "description": "Switch a lamp", "inputSchema": {"json": PARAMETERS}}}],
    [{**LAMP, "parameters": {**PARAMETERS, "properties": {**PARAMETERS["properties"], "zone": None}}}],
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", [lambda form: form, json.dumps, repr])
def test_schemas_in_every_form(form, write):
    assert tool_schemas(write(form), PLACE) == WANTED


@pytest.mark.parametrize("nothing", [None, [], {}, "", "[]", " [] ", "{}", "null", "None", "nan", "[]\n"])
def test_no_tools(nothing):
    assert tool_schemas(nothing, PLACE) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "lamp",
        3,
        [3],
        ["lamp"],
        [{"description": "x"}],
        [{"name": ""}],
        {"a": 1},
        [{"function": {"parameters": {}}}],
        True,
    ],
)
def test_what_offers_no_tool_costs_the_row(wrong):
    with pytest.raises(RowProblem, match="Line 1"):
        tool_schemas(wrong, PLACE)


def test_what_else_a_schema_says_stays():
    told = {
        "name": "f",
        "strict": True,
        "returns": {"type": "string"},
        "parameters": {"type": "object", "properties": {"a": {"default": None, "enum": [None, "x"]}}},
    }
    assert tool_schemas([told], PLACE) == [{"type": "function", "function": told}]
    assert tool_schemas([{"name": "now"}], PLACE) == [{"type": "function", "function": {"name": "now"}}]


def test_no_depth_breaks_the_reading():
    deep = [LAMP]
    for _ in range(3000):
        deep = [{"tools": deep}]
    with pytest.raises(RowProblem, match="nested too deeply"):
        tool_schemas(deep, PLACE)


ROWS = [
    {
        "tools": [
            LAMP,
            {
                "name": "clock",
                "description": None,
                "parameters": {
                    "type": "object",
                    "properties": {"zone": {"type": "string", "enum": ["UTC"]}},
                    "required": [],
                },
            },
        ],
        "messages": [
            {"role": "user", "content": "a", "tool_calls": None},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": None, "function": {"name": "lamp", "arguments": {"room": "0", "at": [{"x": 1}, {"y": 2}]}}}
                ],
            },
        ],
        "answer": {"town": "Bonn", "river": None},
    },
    {
        "tools": [],
        "messages": [
            {
                "role": "assistant",
                "content": "b",
                "tool_calls": [{"id": "c", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}],
            }
        ],
        "answer": {"town": None, "river": "Rhine"},
    },
]


def test_a_typed_tables_nulls_are_taken_out_of_calls_and_schemas(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    assert table.to_pylist()[1]["messages"][0]["tool_calls"][0]["function"]["arguments"] == {
        "room": None,
        "at": None,
        "zone": "UTC",
    }
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    pa.feather.write_feather(table, tmp_path / "a.arrow")
    for name in ("a.parquet", "a.arrow"):
        found = [row.values for row in open_source(tmp_path / name).rows()]
        assert [tool["parameters"]["properties"] for tool in found[0]["tools"]] == [
            {"room": {"type": "string"}},
            {"zone": {"type": "string", "enum": ["UTC"]}},
        ]
        assert found[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {
            "room": "0",
            "at": [{"x": 1}, {"y": 2}],
        }
        assert found[1]["messages"][0]["tool_calls"][0]["function"]["arguments"] == {"zone": "UTC"}
        assert found[0]["answer"] == {"town": "Bonn", "river": None}


def test_a_null_that_a_person_wrote_stays(tmp_path):
    call = {"name": "lamp", "arguments": {"room": None}}
    (tmp_path / "a.jsonl").write_text(
        json.dumps(
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [call]}]}
        )
        + "\n"
    )
    assert next(iter(open_source(tmp_path / "a.jsonl").rows())).values["messages"][1]["tool_calls"] == [call]
    file = io.BytesIO()
    pa.parquet.write_table(pa.table({"calls": [json.dumps([call])]}), file)
    (tmp_path / "a.parquet").write_bytes(file.getvalue())
    assert json.loads(next(iter(open_source(tmp_path / "a.parquet").rows())).values["calls"]) == [call]
    assert without_fill({"input": {"a": None}, "parameters": {"b": None}}) == {
        "input": {"a": None},
        "parameters": {"b": None},
    }

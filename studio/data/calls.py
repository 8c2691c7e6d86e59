"""Normalise tool calls and tool schemas to the format of OpenAI's chat completions API.

    call      {"type": "function", optional "id", "function": {"name": str, "arguments": {…}}}
    schema    {"type": "function", "function": {"name": str, optional "description", "parameters", …}}

Accepted are OpenAI's forms (nested, flat, and the older `function_call` and `functions`), the text of one call or of a
list of calls (ShareGPT, ms-swift), and the forms of Anthropic, Gemini and Bedrock. Raises RowProblem, whose sentence
begins with the given place.
"""

from __future__ import annotations

import re
from typing import Any

from studio.data.cells import structured
from studio.data.rows import RowProblem
from studio.words import Sentence

ARGUMENTS = ("arguments", "parameters", "args", "input", "kwargs")
_WRAPPED = ("function", "function_call", "functionCall", "toolUse", "tool_call")
_IDS = ("id", "toolUseId", "tool_call_id", "call_id")
SCHEMA = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema")
CALL_KEYS = frozenset(("type", "index", "name", "tool_name", *ARGUMENTS, *_WRAPPED, *_IDS))
"""Keys of a call and of its function that are read, or that say nothing about it."""
_LISTS = ("tools", "functions", "functionDeclarations", "function_declarations")
_NOTHING = {"", "null", "none", "nan", "[]", "{}"}
_BEFORE = re.compile(r"\s*((?:<(think|thinking|thought)>.*?</\2>)?[^\[{]*)", re.DOTALL)
_TAGS = re.compile(r"</?tool_calls?>\s*$")


def call_list(value: Any, place: Sentence) -> list[dict]:
    """The calls in one value: a call, a list of calls, or either as text. Empty for None, "" and []."""
    value = structured(value)
    if value is None or value == "":
        return []
    calls = value if isinstance(value, list) else [value]
    return [_call(call, place) for call in calls if not _is_empty(call)]


def call_objects(value: Any) -> list[dict]:
    """The objects that make up the calls in one value: each call, and its function if that is an object of its own."""
    value = structured(value)
    calls = [call for call in map(structured, value if isinstance(value, list) else [value]) if isinstance(call, dict)]
    functions = (structured(call[key]) for call in calls for key in _WRAPPED if call.get(key))
    return [*calls, *(function for function in functions if isinstance(function, dict))]


def _is_empty(call: Any) -> bool:
    """Whether a call is null or an object of nulls, which typed columns contain for a turn without calls."""
    if not isinstance(call, dict):
        return call is None
    return all(value is None or (isinstance(value, dict) and value and _is_empty(value)) for value in call.values())


def calls_with_words(value: Any, place: Sentence) -> tuple[str, list[dict]]:
    """(text before the calls, calls) of the whole content of a turn of tool calls; reasoning may precede the calls."""
    if not isinstance(value, str) or structured(value) is not value:
        found = call_list(value, place)
        return "", found or [_call(None, place)]
    before = _BEFORE.match(value)
    rest = value[before.end() :]
    return _TAGS.sub("", before[1]).strip(), call_list(re.sub(r"\s*</tool_calls?>\s*$", "", rest), place) or [
        _call(None, place)
    ]


def _call(call: Any, place: Sentence) -> dict:
    """One call in OpenAI's form. Raises RowProblem if it has no function name."""
    call = structured(call)
    outer = call if isinstance(call, dict) else {}
    function = next((structured(outer[key]) for key in _WRAPPED if outer.get(key)), outer)
    if isinstance(function, str):  # Mistral's older form: the function is only its name, the arguments are next to it
        function = {**outer, "name": function}
    name = function.get("name", function.get("tool_name")) if isinstance(function, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise RowProblem(
            "shape", "{place} has a tool call without a function's name and arguments. Correct that row.", place=place
        )
    found = {"type": "function", "function": {"name": name, "arguments": _arguments(function, name, place)}}
    identity = next((held[key] for held in (outer, function) for key in _IDS if held.get(key)), None)
    return {"type": "function", "id": str(identity), "function": found["function"]} if identity else found


def _arguments(function: dict, name: str, place: Sentence) -> dict:
    """The arguments of a call as an object. Raises RowProblem if they are neither an object nor empty."""
    value = next((function[key] for key in ARGUMENTS if function.get(key) is not None), None)
    if isinstance(value, dict):
        return value
    for _ in range(2):  # arguments may be JSON-encoded once or twice
        value = structured(_unquoted(value))
    if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING) or value == []:
        return {}
    if not isinstance(value, dict):
        raise RowProblem(
            "shape",
            "{place} calls '{name}' with arguments that are no object but {value}. Write them as a JSON object.",
            place=place,
            name=name[:40],
            value=str(value)[:40],
        )
    return value


def _unquoted(value: Any) -> Any:
    """Decode a JSON string, which is what an object becomes if it is encoded twice; return other values unchanged."""
    if isinstance(value, str) and value.lstrip().startswith('"'):
        return next(iter(structured(f"[{value}]")), value) if isinstance(structured(f"[{value}]"), list) else value
    return value


def tool_schemas(value: Any, place: Sentence) -> list[dict]:
    """The tool schemas in a cell, in OpenAI's form; [] if it has none ([], "[]", null, "")."""
    try:
        return _schemas(value, place)
    except RecursionError as error:
        raise RowProblem(
            "shape",
            "{place} has tools that are nested too deeply. Correct that row, or choose another column.",
            place=place,
        ) from error


def _schemas(value: Any, place: Sentence) -> list[dict]:
    value = structured(value)
    if value is None or value in ([], {}) or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return []
    if isinstance(value, dict):
        value = _listed(value)
    if not isinstance(value, list):
        raise RowProblem(
            "shape", "{place} has tools that are no list. Correct that row, or choose another column.", place=place
        )
    found: list[dict] = []
    for item in value:
        item = structured(item)
        inner = (
            next((item[key] for key in _LISTS if isinstance(item.get(key), list)), None)
            if isinstance(item, dict)
            else None
        )
        found += _schemas(inner, place) if inner is not None else [_schema(item, place)]
    return found


def _listed(value: dict) -> Any:
    """The list of tools in an object: {"tools": […]}, a single tool, or {name: tool}; any other object as it is."""
    inner = next((value[key] for key in _LISTS if value.get(key)), None)
    if inner is not None:
        return structured(inner)
    if "name" in value or "function" in value or "toolSpec" in value:
        return [value]
    if all(
        isinstance(tool, dict) and ("description" in tool or any(key in tool for key in SCHEMA))
        for tool in value.values()
    ):
        return [{"name": name, **tool} for name, tool in value.items()]
    return value


def _schema(item: Any, place: Sentence) -> dict:
    """One tool schema in OpenAI's form. Raises RowProblem if it has no name."""
    function = (
        next((structured(item[key]) for key in ("function", "toolSpec") if item.get(key)), item)
        if isinstance(item, dict)
        else None
    )
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise RowProblem(
            "shape", "{place} offers a tool without a name. Correct that row, or choose another column.", place=place
        )
    key = next((key for key in SCHEMA if function.get(key) is not None), None)
    left = {*SCHEMA, "name", "description"} | ({"type"} if function is item else set())
    found = {"name": function["name"]}
    if function.get("description") is not None:
        found["description"] = function["description"]
    if key:
        parameters = structured(function[key])
        json_schema = (
            parameters.get("json") if isinstance(parameters, dict) and key == "inputSchema" else None
        )  # Bedrock nests the schema under "json"
        found["parameters"] = _without_null(json_schema or parameters)
    return {
        "type": "function",
        "function": found | {name: value for name, value in function.items() if name not in left},
    }


def _without_null(schema: Any) -> Any:
    """A JSON schema without null properties, which typed columns add where another tool has that property."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_null(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict):
        found["properties"] = {key: value for key, value in found["properties"].items() if value is not None}
    return found


def without_fill(value: Any) -> Any:
    """Remove from turns or tools the nulls that typed columns (Arrow structs) add.

    A struct column has each field that occurs in any row. The nulls are removed from the arguments of calls and the
    parameters of tools only; elsewhere a null may be meant.
    """
    if isinstance(value, list):
        return [without_fill(item) for item in value]
    if not isinstance(value, dict):
        return value
    called = any(isinstance(value.get(key), str) for key in ("name", "tool_name", "toolUseId"))
    return {
        key: _pruned(item) if called and key in (*ARGUMENTS, *SCHEMA) and isinstance(item, dict) else without_fill(item)
        for key, item in value.items()
    }


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    return value

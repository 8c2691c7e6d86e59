"""The Jinja environment in which chat templates are rendered, and the errors that they raise.

The environment is sandboxed, and has the functions, filters and tags that the templates of models expect.
"""

from __future__ import annotations

import json
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.words import StudioError

TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""Exceptions that a template can raise on a conversation that it does not support."""


class ChatTemplateError(StudioError):
    """A chat template rejects a conversation. kind: the kind of finding that reports it."""

    kind = "refused"


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks assistant tokens for other tools; here only its body is rendered."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_environment() -> ImmutableSandboxedEnvironment:
    """The sandboxed Jinja environment with the functions and filters that chat templates expect."""

    def refuse(message: str):
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=refuse, strftime_now=lambda form: datetime.now().strftime(form))
    return environment


def with_tool_call_ids(messages: list[dict]) -> list[dict]:
    """`messages` with tool call ids replaced by nine-digit numbers, in the tool results too."""
    numbers: dict[str, str] = {}
    waiting: list[str] = []
    count, made = 0, []
    for turn in messages:
        turn = dict(turn)
        if turn.get("tool_calls"):
            waiting, calls = [], []
            for call in turn["tool_calls"]:
                number, count = f"{count:09d}", count + 1
                numbers[str(call.get("id"))] = number
                waiting.append(number)
                calls.append({**call, "id": number})
            turn["tool_calls"] = calls
        elif turn["role"] == "tool":
            named = numbers.get(str(turn.get("tool_call_id"))) if turn.get("tool_call_id") else None
            turn["tool_call_id"] = named if named in waiting or not waiting else waiting[0]
            if turn["tool_call_id"] in waiting:
                waiting.remove(turn["tool_call_id"])
        made.append(turn)
    return made

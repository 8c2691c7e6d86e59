"""Conversations made by a seed: all that people's data holds, and what chat templates stumble over."""

from __future__ import annotations

import random

from studio.data.reasoning import join_reasoning

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lamp",
            "description": "Switch a lamp",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
                "required": ["room"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "tide",
            "description": "When it is high",
            "parameters": {
                "type": "object",
                "properties": {"port": {"type": "string", "description": "Its name"}},
                "required": ["port"],
            },
        },
    },
]
WORDS = [
    "Bonn",
    "Kiel",
    "hello",
    "Köln",
    "世界",
    "👋",
    "x = 1",
    "it's",
    '"so"',
    "a\\b",
    "{}",
    "1.5",
    "<b>",
    "&",
    "yes",
    "no",
    "user",
    "assistant",
    "Grüße",
    "\t",
    "def f():\n    pass",
]


def words(draw: random.Random, marks: list[str]) -> str:
    """A text of one to eight words, now and then over several lines, with blanks at its ends, or with one of `marks`
    in it.
    """
    text = draw.choice([" ", " ", "\n", "\n\n"]).join(draw.choice(WORDS) for _ in range(draw.randint(1, 8)))
    if marks and draw.random() < 0.15:
        text = f"{text} {draw.choice(marks)} {draw.choice(WORDS)}"
    if draw.random() < 0.2:
        text = draw.choice([" ", "\n", "\n\n", "  \n"]) + text
    if draw.random() < 0.1:
        text += draw.choice([" ", "\n"])
    return text if text.strip() else "Ulm"


def call(draw: random.Random) -> dict:
    tool = draw.choice(TOOLS)["function"]["name"]
    arguments = (
        {"room": words(draw, []).strip(), "on": draw.random() < 0.5}
        if tool == "lamp"
        else {"port": draw.choice(WORDS[:6])}
    )
    found = {"type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"id": f"call_{draw.randint(0, 999)}", **found} if draw.random() < 0.5 else found


def conversation(
    draw: random.Random, *, marks: list[str], system: bool, tools: bool, parallel: bool, beside: bool, reasoning: bool
) -> dict:
    """A record of the chat task. marks: texts of the chat template that may stand in contents; the others: what there
    may be of system texts, tools, several calls at once, words beside calls, reasoning.
    """
    turns: list[dict] = []
    if system and draw.random() < 0.5:
        turns.append({"role": "system", "content": words(draw, [])})
    called = tools and draw.random() < 0.5

    def answer(content: str, **more) -> dict:
        thought = join_reasoning(words(draw, []), content) if reasoning and draw.random() < 0.4 else content
        return {"role": "assistant", "content": thought, **more}

    for _ in range(draw.randint(1, 4)):
        turns.append({"role": "user", "content": words(draw, marks)})
        if called and draw.random() < 0.6:
            calls = [call(draw) for _ in range(draw.randint(1, 3) if parallel else 1)]
            turns.append(answer(words(draw, []) if beside and draw.random() < 0.3 else "", tool_calls=calls))
            turns += [
                {
                    "role": "tool",
                    "content": draw.choice(["ok", "", '{"at": "9:15"}']),
                    "name": one["function"]["name"],
                    **({"tool_call_id": one["id"]} if "id" in one else {}),
                }
                for one in calls
            ]
        turns.append(answer(words(draw, marks)))
        if draw.random() < 0.1:
            turns[-1]["weight"] = 0
    if called and draw.random() < 0.2:  # an answer that is a call
        turns.append({"role": "user", "content": words(draw, [])})
        turns.append(answer("", tool_calls=[call(draw)]))
    record = {"messages": turns}
    return {**record, "tools": TOOLS} if called else record

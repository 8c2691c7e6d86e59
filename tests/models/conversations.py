"""Random conversations by seed, with everything that real data holds and chat templates have trouble with."""

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


def words(rng: random.Random, marks: list[str]) -> str:
    """A text of one to eight words, sometimes over several lines, with surrounding white space, or with one of `marks`
    in it.
    """
    text = rng.choice([" ", " ", "\n", "\n\n"]).join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    if marks and rng.random() < 0.15:
        text = f"{text} {rng.choice(marks)} {rng.choice(WORDS)}"
    if rng.random() < 0.2:
        text = rng.choice([" ", "\n", "\n\n", "  \n"]) + text
    if rng.random() < 0.1:
        text += rng.choice([" ", "\n"])
    return text if text.strip() else "Ulm"


def call(rng: random.Random) -> dict:
    tool = rng.choice(TOOLS)["function"]["name"]
    arguments = (
        {"room": words(rng, []).strip(), "on": rng.random() < 0.5}
        if tool == "lamp"
        else {"port": rng.choice(WORDS[:6])}
    )
    found = {"type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"id": f"call_{rng.randint(0, 999)}", **found} if rng.random() < 0.5 else found


def conversation(
    rng: random.Random,
    *,
    marks: list[str],
    system: bool,
    tools: bool,
    parallel: bool,
    content_with_calls: bool,
    reasoning: bool,
) -> dict:
    """A record of the chat task. marks: template markers that may occur in contents; the other parameters: which of
    system messages, tools, parallel calls, content beside calls and reasoning may occur.
    """
    turns: list[dict] = []
    if system and rng.random() < 0.5:
        turns.append({"role": "system", "content": words(rng, [])})
    called = tools and rng.random() < 0.5

    def answer(content: str, **more) -> dict:
        thought = join_reasoning(words(rng, []), content) if reasoning and rng.random() < 0.4 else content
        return {"role": "assistant", "content": thought, **more}

    for _ in range(rng.randint(1, 4)):
        turns.append({"role": "user", "content": words(rng, marks)})
        if called and rng.random() < 0.6:
            calls = [call(rng) for _ in range(rng.randint(1, 3) if parallel else 1)]
            turns.append(answer(words(rng, []) if content_with_calls and rng.random() < 0.3 else "", tool_calls=calls))
            turns += [
                {
                    "role": "tool",
                    "content": rng.choice(["ok", "", '{"at": "9:15"}']),
                    "name": one["function"]["name"],
                    **({"tool_call_id": one["id"]} if "id" in one else {}),
                }
                for one in calls
            ]
        turns.append(answer(words(rng, marks)))
        if rng.random() < 0.1:
            turns[-1]["weight"] = 0
    if called and rng.random() < 0.2:  # an answer that is a call
        turns.append({"role": "user", "content": words(rng, [])})
        turns.append(answer("", tool_calls=[call(rng)]))
    record = {"messages": turns}
    return {**record, "tools": TOOLS} if called else record

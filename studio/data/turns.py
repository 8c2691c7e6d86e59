"""Normalise chat turns from common formats to [{"role", "content", …}] and check the order of the roles.

Accepts OpenAI messages (role/content, including tools and tool calls), ShareGPT turns (from/value), the formats of
ms-swift, Anthropic, Gemini, Bedrock and Cohere, and the channels of harmony. Optional keys of a turn: tool_calls,
tool_call_id, name; weight (factor of its loss, 1 if absent); span_weights ([[start, end, factor], …] over the
characters of its content, multiplied with its weight); media (the media that placeholders such as <image> in the
content stand for); tools, for a system turn (tools offered there instead of in a column).

Raises `RowProblem`, whose sentence begins with the given place. Independent of columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.data.calls import call_list, calls_with_words, tool_schemas
from studio.data.cells import as_list, as_text, written
from studio.data.contents import Content, content_of, reasoning_text
from studio.data.reasoning import OPEN, join_reasoning, split_reasoning
from studio.data.rows import RowProblem
from studio.data.speakers import CALLERS, ROLES, exchanges, infer_roles, is_turn, named, speaker, to_turns
from studio.data.transcripts import transcript
from studio.data.turn_weights import DETAILS, MARKS, NEGATED, detailed, moved, overlaid, weight_of
from studio.words import Sentence

_PLAIN = ("user", "assistant", "system", "tool")
CONTENTS = ("content", "value", "text", "parts", "message", "refusal")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts", "thought", "reasoning_details", "tool_plan")
_IDS = ("tool_call_id", "tool_use_id", "call_id")
CALLS = ("tool_calls", "function_call")
MARKED = frozenset((*MARKS, *NEGATED, *DETAILS))
_MEDIA = {"image": "image", "images": "image", "audio": "audio", "audios": "audio", "video": "video", "videos": "video"}
_OFFERS = ("tools", "functions")
_EXTRAS = frozenset((*CALLS, *_THOUGHTS, *MARKED, *_MEDIA, *_OFFERS, "channel", "recipient"))
"""Keys with information on a turn besides its speaker and content."""
READ = frozenset(("role", "from", "name", *CONTENTS, *_IDS, *_EXTRAS))
"""Keys of turns that are read, at least for some role."""
READ_OF = {"assistant": frozenset((*CALLS, *_THOUGHTS)), "system": frozenset(_OFFERS)}
"""Role → keys that are read for this role only."""
_MADE = frozenset(("_thoughts", "_thought_weights", "_calls", "_open", "span_weights"))
TALKS = ("messages", "conversations", "conversation")


def unwrapped(value: Any) -> Any:
    """Return the content of an object that only wraps it, and any other value unchanged.

    Wrappers are {"messages": […]} (OpenAI preference data), {"conversations": […]}, SQuAD's {"text": […]}, of which the
    first answer is taken, and TriviaQA's {"value": …, "aliases": […]}. A list of exchanges,
    [{"human": …, "assistant": …}, …], becomes the list of their turns.
    """
    if isinstance(value, list):
        return to_turns(value)
    if isinstance(value, dict):
        for key in TALKS:
            if isinstance(value.get(key), list) and (key == "messages" or all(map(is_turn, to_turns(value[key])))):
                return to_turns(value[key])
        if isinstance(value.get("value"), str) and "aliases" in value:
            return value["value"]
        if isinstance(value.get("text"), list) and value.keys() <= {"text", "answer_start"}:
            return value["text"][0] if value["text"] else ""
    return value


def turns(value: Any, place: Sentence, column: str, see: Callable[[list], None] | None = None) -> list[dict]:
    """Return the turns in one cell, with normalised role names; unknown speakers are resolved by `infer_roles`.

    The order of the roles is not checked. see: called with the objects from which the turns were made, unless all of
    them are plain. Raises RowProblem if the cell holds no list of messages or an invalid
    message.
    """
    items = _items(value)
    if items is None:
        raise RowProblem(
            "shape",
            "{place} holds no list of messages in '{column}'. Correct that row, or choose another column.",
            place=place,
            column=column,
        )
    try:
        if all(map(_is_plain, items)):
            return list(items)
        items = exchanges(to_turns(items))
        found = _named_or_inferred(items, place)
    except RecursionError as error:
        raise RowProblem(
            "shape", "{place} has a message that is nested too deeply. Correct or remove the row.", place=place
        ) from error
    if see:
        see(items)
    return found


def _items(value: Any) -> list | None:
    """The turns in a cell, or a list whose items may be turns; None if the cell holds neither."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        found = as_list(value)
        if found is None:
            found = as_list(unwrapped(written(value)))
        return transcript(value) if found is None else found
    return [value] if is_turn(value) else as_list(unwrapped(value))


def _is_plain(item: Any) -> bool:
    """Whether this is already a normalised turn with only a role and a text content."""
    return (
        isinstance(item, dict)
        and len(item) == 2
        and item.get("role") in _PLAIN
        and isinstance(item.get("content"), str)
    )


def _named_or_inferred(items: list, place: Sentence) -> list[dict]:
    try:
        return _talk(items, place, {})
    except RowProblem as problem:
        if problem.kind != "role" or not (taken := infer_roles(items)):
            raise
        return _talk(items, place, taken)


def _talk(items: list, place: Sentence, taken: dict[str, str]) -> list[dict]:
    """All normalised turns; consecutive objects that are parts of one assistant turn are merged."""
    found: list[dict] = []
    for item in items:
        if _is_plain(item):
            found.append(item)
            continue
        for part in _turns_of(item, place, taken):
            if (
                found
                and part["role"] == found[-1]["role"] == "assistant"
                and (part.get("_calls") or found[-1].get("_open"))
            ):
                found[-1] = _joined(found[-1], part, place)
            else:
                found.append(part)
    return [turn if len(turn) == 2 else _finished(turn) for turn in found]


def _turns_of(item: Any, place: Sentence, taken: dict[str, str]) -> list[dict]:
    """The turns in one object: tool results, which some formats place in the user turn, then the turn itself.

    Keys that begin with "_" are temporary and removed by `_finished`.
    """
    if not isinstance(item, dict):
        raise RowProblem(
            "shape", "{place} has a message that is no object with role and content. Correct that row.", place=place
        )
    role = ROLES.get(name := speaker(item)) or taken.get(name)
    if role is None:
        raise RowProblem(
            "role",
            "{place} has a message from '{role}'. Known are system, user, assistant and tool; rename it.",
            place=place,
            role=as_text(named(item))[:40],
        )
    value = item.get("content")
    if value is None:
        value = next((item[key] for key in CONTENTS if item.get(key) is not None), None)
    if isinstance(value, str) and name not in CALLERS and _EXTRAS.isdisjoint(item):
        return [_told(item, {"role": role, "content": value})]
    if name in CALLERS or str(item.get("recipient") or "").startswith("functions."):
        words, calls = _called(item, value, place)
        content = Content(text=words, calls=calls)
    else:
        content = content_of(value, role, place)
    if role == "assistant":
        _with_keys(content, item, place)
    _with_media(content, item)
    turn = {"role": role, "content": content.text} | _marks(item, role, content, place)
    if content.results and not (content.text.strip() or content.calls):
        return content.results
    for key, found in (("_thoughts", content.reasoning), ("tool_calls", content.calls), ("media", content.media)):
        if found:
            turn[key] = found
    if content.reasoning or "span_weights" in turn:
        turn["_thought_weights"] = content.reasoning_spans
    if role == "assistant" and item.get("channel") in ("analysis", "commentary"):
        turn = _of_channel(turn, item["channel"])
    if name in CALLERS or (item.get("recipient") and content.calls):
        turn["_calls"] = True
    if (
        role == "system"
        and (offered := next((item[key] for key in _OFFERS if item.get(key)), None))
        and (schemas := tool_schemas(offered, place))
    ):
        turn["tools"] = schemas
    return [*content.results, _told(item, turn)]


def _told(item: dict, turn: dict) -> dict:
    """Return `turn` with the `name` and `tool_call_id` of its source object."""
    if isinstance(name := item.get("name"), str) and name:
        turn["name"] = name.removeprefix("functions.")
    for key in _IDS:
        if item.get(key):
            turn["tool_call_id"] = str(item[key])
            break
    return turn


def _called(item: dict, value: Any, place: Sentence) -> tuple[str, list[dict]]:
    """(text, calls) of a turn that consists of tool calls.

    The turn is from a speaker in `CALLERS`, or a message of harmony to a function.
    """
    to = str(item.get("recipient") or "")
    if to.startswith("functions."):
        return "", call_list({"name": to.removeprefix("functions."), "arguments": value}, place)
    if value in (None, "") and item.get("tool_calls"):
        return "", []
    return calls_with_words(value, place)


def _with_keys(content: Content, item: dict, place: Sentence) -> None:
    """Add to `content` the calls and reasoning that an assistant turn has in keys other than its content."""
    for key in CALLS:
        if item.get(key):
            content.calls += call_list(item[key], place)
    if not content.reasoning and any(map(item.get, _THOUGHTS)) and not split_reasoning(content.text)[0]:
        content.reasoning = next(
            (text for key in _THOUGHTS if item.get(key) and (text := reasoning_text(item[key])).strip()), ""
        )


def _with_media(content: Content, item: dict) -> None:
    """Add the media that a turn lists in keys of its own, as Ollama and LLaVA do.

    Placeholders that the text lacks are inserted at its beginning.
    """
    beside = [
        medium
        for key, medium in _MEDIA.items()
        if item.get(key)
        for _ in (item[key] if isinstance(item[key], list) else [item[key]])
    ]
    marks = "".join(f"<{medium}>" for medium in beside if f"<{medium}>" not in content.text)
    content.media += beside
    content.text, content.spans = marks + content.text, moved(content.spans, len(marks))


def _marks(item: dict, role: str, content: Content, place: Sentence) -> dict:
    """The turn's weight and span_weights, if it is marked.

    The default weight is 1 for assistant turns and 0 for others, so only marks that differ from it are returned.
    """
    if not content.spans and MARKED.isdisjoint(item):
        return {}
    weight, details = weight_of(item, place), detailed(item, len(content.text), place)
    if details is not None and content.reasoning:
        # In axolotl, text without an entry is not trained on.
        content.reasoning_spans = [[0, len(content.reasoning), 0]]
    found: dict = {}
    if weight is not None and (weight != 1 if role == "assistant" else weight > 0):
        found["weight"] = weight
    spans = overlaid(content.spans, details or [])
    if spans and weight != 0 and (role == "assistant" or weight):
        found["span_weights"] = spans
    return found


def _of_channel(turn: dict, channel: str) -> dict:
    """Mark a message that harmony's assistant writes before its answer as open: the next one belongs to the same turn.

    The content of the analysis channel becomes the turn's reasoning.
    """
    if channel == "analysis":
        spans = turn.pop("span_weights", [])
        turn = {**turn, "content": "", "_thoughts": turn["content"], "_thought_weights": spans}
    return {**turn, "_open": True}


def _joined(before: dict, after: dict, place: Sentence) -> dict:
    """Merge two parts of one assistant turn.

    These are text or reasoning followed by calls, parallel calls, or reasoning followed by its answer.
    """
    top = max(before.get("weight", 1), after.get("weight", 1))
    before, after = _weighed(before, top, place), _weighed(after, top, place)
    between = "\n" if before["content"].strip() and after["content"].strip() else ""
    spans = [
        *before.get("span_weights", []),
        *moved(after.get("span_weights", []), len(before["content"]) + len(between)),
    ]
    thoughts = "\n".join(filter(None, (before.get("_thoughts"), after.get("_thoughts"))))
    ahead = len(before["_thoughts"]) + 1 if before.get("_thoughts") else 0
    made = {
        **before,
        **after,
        "content": before["content"] + between + after["content"],
        "span_weights": spans,
        "_thoughts": thoughts,
        "_thought_weights": [*before.get("_thought_weights", []), *moved(after.get("_thought_weights", []), ahead)],
        "tool_calls": [*before.get("tool_calls", []), *after.get("tool_calls", [])],
        "media": [*before.get("media", []), *after.get("media", [])],
    }
    if not after.get("_open"):
        made.pop("_open", None)
    return {key: value for key, value in made.items() if value != [] and (key, value) != ("weight", 1)}


def _weighed(turn: dict, top: float, place: Sentence) -> dict:
    """Return a part of a turn for a turn weight of `top`; a smaller weight is expressed by span factors.

    The factors cover the text and the reasoning. Raises RowProblem if the part has tool calls, to which span factors
    cannot apply.
    """
    if (share := turn.get("weight", 1) / top if top else 1) == 1:
        return turn
    if turn.get("tool_calls"):
        raise RowProblem(
            "shape",
            "{place} has parts of one answer with weights that cannot be kept apart. Give its words and its calls the "
            "same weight.",
            place=place,
        )
    made = {**turn, "weight": top}
    for key, text in (("span_weights", turn["content"]), ("_thought_weights", turn.get("_thoughts"))):
        if text:
            made[key] = overlaid(turn.get(key, []), [[0, len(text), share]])
    return made


def _finished(turn: dict) -> dict:
    """The turn without temporary keys, with its reasoning joined in front of the answer and span positions adjusted."""
    if _MADE.isdisjoint(turn):
        return turn
    thoughts, weights = turn.get("_thoughts", ""), turn.get("_thought_weights", [])
    spans = turn.get("span_weights", [])
    turn = {key: value for key, value in turn.items() if not key.startswith("_")}
    if thoughts.strip():
        content = join_reasoning(thoughts, turn["content"])
        ahead, blank = len(OPEN) + 1, len(thoughts) - len(thoughts.lstrip())
        limit = ahead + len(thoughts.strip())
        inside = [[max(start, ahead), min(end, limit), factor] for start, end, factor in moved(weights, ahead - blank)]
        if len(inside) == 1 and inside[0][:2] == [ahead, limit]:  # the whole reasoning: include its tags
            inside[0][:2] = [0, len(content) - len(turn["content"])]
        spans = [span for span in inside if span[0] < span[1]] + moved(spans, len(content) - len(turn["content"]))
        turn["content"] = content
    turn.pop("span_weights", None)
    return turn | ({"span_weights": spans} if spans and turn.get("weight") != 0 else {})


def check_order(messages: list[dict], place: Sentence) -> list[dict]:
    """Return `messages` if their order is valid.

    User and assistant alternate, tool results follow calls, the last message is the assistant's, and no message is
    empty, except tool results and turns with calls. System messages may be anywhere but at the end. Raises RowProblem.
    """
    if not messages:
        raise RowProblem("empty", "{place} has no messages. Fill it or remove it.", place=place)
    before = spoke = "start"
    for number, turn in enumerate(messages, start=1):
        role = turn["role"]
        words = split_reasoning(turn["content"])[1] if role == "assistant" else turn["content"]
        if not words.strip() and not turn.get("tool_calls") and role != "tool":
            raise RowProblem(
                "empty",
                "{place} has an empty message from {role} (message {number}). Fill it or remove the row.",
                place=place,
                role=role,
                number=number,
            )
        if role != "system" and spoke not in _MAY_FOLLOW[role]:
            raise RowProblem(
                "order",
                "{place} breaks the order of the roles: message {number} is from {role}, after {before}. "
                "user and assistant must alternate, beginning with user.",
                place=place,
                number=number,
                role=role,
                before=before,
            )
        before, spoke = role, spoke if role == "system" else role
    if before != "assistant":
        raise RowProblem(
            "order",
            "{place} ends with a message from {role}, so there is no answer to train on. Add the assistant's answer or "
            "remove that message.",
            place=place,
            role=before,
        )
    return messages


_MAY_FOLLOW = {"user": {"start", "assistant"}, "assistant": {"user", "tool"}, "tool": {"assistant", "tool"}}

"""Parse the content of one turn: a text, or a list of parts as in OpenAI, LLaMA-Factory, Anthropic, Gemini and Bedrock.

Text parts are concatenated; reasoning, tool calls and tool results are separated; an image, audio or video is listed in
`media` and replaced by a placeholder such as <image>. Raises RowProblem, whose sentence begins with the given place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.data.calls import call_list
from studio.data.cells import as_text
from studio.data.rows import RowProblem
from studio.data.turn_weights import MARKS, NEGATED, Spans, overlaid, weight_of
from studio.words import Sentence

_WORDS = ("text", "value", "content", "refusal", "output_text")
_THOUGHTS = (
    "thinking",
    "reasoning",
    "thought",
    "reasoning_content",
    "reasoningContent",
    "redacted_thinking",
    "summary",
)
_CALLS = ("tool_use", "tool_call", "function_call", "toolUse", "functionCall", "tool-call")
_RESULTS = ("tool_result", "toolResult", "functionResponse", "function_response", "tool-result")
_MEDIA = {"image": "image", "audio": "audio", "video": "video", "file": "file", "document": "file"}
_BLOBS = ("inlineData", "inline_data", "fileData", "file_data")
_RESULT_IDS = ("tool_use_id", "toolUseId", "tool_call_id", "call_id", "id")
_RESULT_WORDS = ("content", "response", "output", "result", "value")
_TECHNICAL = ("type", "index", "cache_control", "cachePoint", "signature", "thoughtSignature", "thought_signature")
TEXT_KEYS = frozenset((*_TECHNICAL, "thought", *_WORDS, *_THOUGHTS, *MARKS, *NEGATED))
"""Keys of a part of text or of reasoning that are read, or that say nothing about what is to be trained on."""
RESULT_KEYS = frozenset((*_TECHNICAL, "name", *_RESULT_IDS, *_RESULT_WORDS))
"""The same for a tool result."""


@dataclass
class Content:
    """The parsed content of one turn.

    text, reasoning: concatenated text and reasoning; spans, reasoning_spans: loss weights of parts of each, as [start,
    end, factor] in characters; calls: tool calls; results: tool turns; media: kinds of media replaced by placeholders;
    is_text: whether there was any text or reasoning.
    """

    text: str = ""
    reasoning: str = ""
    spans: Spans = field(default_factory=list)
    reasoning_spans: Spans = field(default_factory=list)
    calls: list[dict] = field(default_factory=list)
    results: list[dict] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    is_text: bool = False

    def add_text(self, text: str, factor: float | None = None) -> None:
        """Append text. factor: its loss weight; None: not marked, which counts as 1."""
        if text and factor is not None and factor != 1:
            self.spans.append([len(self.text), len(self.text) + len(text), factor])
        self.text += text
        self.is_text = self.is_text or bool(text.strip())

    def add_reasoning(self, text: str, factor: float | None = None) -> None:
        """Append reasoning on a new line. factor: as in `add_text`."""
        before = f"{self.reasoning}\n" if self.reasoning else ""
        if text and factor is not None and factor != 1:
            self.reasoning_spans.append([len(before), len(before) + len(text), factor])
        self.reasoning, self.is_text = before + text, True

    def add_medium(self, medium: str) -> None:
        """Append the placeholder of an image, audio, video or file."""
        self.media.append(medium)
        self.text += f"<{medium}>"


def content_of(value: Any, role: str, place: Sentence) -> Content:
    """Parse the content of a turn of `role`.

    An object that is no content part becomes JSON text; for role "tool", so does any object without "parts" and any
    list that is not one of text parts or tool results. Raises RowProblem for a part of an unknown kind, and for media
    without any text.
    """
    found = Content()
    value = _parts(value, role)
    if not isinstance(value, list):
        found.add_text(as_text(value))
        return found
    for part in value:
        _add_part(found, part, place)
    if found.media and not (found.is_text or found.calls or found.results):
        raise _no_words(place)
    found.spans = overlaid(found.spans, [])
    return found


def _parts(value: Any, role: str) -> Any:
    """`value` as a list of parts if it is or wraps one; else the value itself, or a tool's list as JSON text."""
    if isinstance(value, dict):
        if isinstance(value.get("parts"), list):  # the format of ChatGPT's data export
            value = value["parts"]
        elif role != "tool" and (_is_part(value) or value.keys() <= {"text"}) and value:
            value = [value]
    if (
        isinstance(value, list)
        and role == "tool"
        and not (value and (all(map(_is_text_part, value)) or any(map(_is_result, value))))
    ):
        return as_text(value)
    return value


def _is_part(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind in ("text", "input_text", "output_text") and any(isinstance(value.get(key), str) for key in _WORDS)


def _is_text_part(value: Any) -> bool:
    return _is_part(value) or (
        isinstance(value, dict) and {key for key, item in value.items() if item is not None} == {"text"}
    )


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("type") in _RESULTS or any(value.get(key) for key in _RESULTS))


def _add_part(found: Content, part: Any, place: Sentence) -> None:
    """Add one part to `found`."""
    if isinstance(part, str):
        found.add_text(part)
        return
    part = (
        {key: item for key, item in part.items() if item is not None}
        if isinstance(part, dict)
        else {"type": type(part).__name__}
    )
    kind = str(part.get("type") or "")
    calls, results = calls_of_part(part), result_of_part(part)
    if calls is not None:
        found.calls += call_list(calls, place)
    elif results is not None:
        found.results.append(_result(results, place))
    elif (medium := medium_of_part(part)) is not None:
        found.add_medium(medium)
    elif part.get("thought") is True:  # Gemini: {"text": …, "thought": true}
        found.add_reasoning(as_text(part.get("text")), weight_of(part, place))
    elif (thoughts := _keyed(part, kind, _THOUGHTS)) is not None:
        found.add_reasoning(reasoning_text(thoughts), weight_of(part, place))
    elif (words := next((part[key] for key in _WORDS if isinstance(part.get(key), str)), None)) is not None:
        found.add_text(words, weight_of(part, place))
    elif kind not in ("", "text") or part.keys() - {"type", "cachePoint", "cache_control", "index"}:
        raise _no_words(place)


def _no_words(place: Sentence) -> RowProblem:
    return RowProblem(
        "shape", "{place} has a message with a part that is not text, which cannot be trained on here.", place=place
    )


def _keyed(part: dict, kind: str, names: tuple[str, ...]) -> Any:
    """The value of a part of one of the kinds in `names`; None if it is of another kind.

    That is the part itself if its type is one of them, or, for a part without a type (or of type "text"), the value
    under such a key.
    """
    if kind in names:
        return part
    return (
        next((part[name] for name in names if name in part and part[name] is not True), None)
        if kind in ("", "text")
        else None
    )


def calls_of_part(part: dict) -> Any:
    """The tool call or calls that the part holds; None if it holds none."""
    kind = str(part.get("type") or "")
    calls = _keyed(part, kind, _CALLS)
    return part.get("value", calls) if kind == "tool_call" and "function" not in part else calls


def result_of_part(part: dict) -> Any:
    """The tool result that the part holds; None if it holds none."""
    return _keyed(part, str(part.get("type") or ""), _RESULTS)


def medium_of_part(part: dict) -> str | None:
    """image, audio, video or file if the part is one; else None."""
    kind = str(part.get("type") or "")
    for blob in (part[key] for key in _BLOBS if isinstance(part.get(key), dict)):
        written = str(blob.get("mimeType", blob.get("mime_type", ""))).split("/")[0]
        return _MEDIA.get(written, "file")
    if kind in ("text", "input_text", "output_text"):
        return None
    if kind:
        return next((medium for name, medium in _MEDIA.items() if name in kind.lower()), None)
    keys = [key.lower().removesuffix("_url") for key in part]
    return (
        next((_MEDIA[key] for key in keys if key in _MEDIA), None)
        if not any(isinstance(part.get(key), str) for key in _WORDS)
        else None
    )


def reasoning_text(value: Any) -> str:
    """The text of a reasoning part: a text, {"thinking": …}, {"reasoningText": {"text": …}}, or a list of these."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(reasoning_text, value)))
    if isinstance(value, dict):
        names = (
            "thinking",
            "reasoning",
            "thought",
            "text",
            "value",
            "content",
            "reasoningText",
            "reasoning_content",
            "reasoningContent",
            "summary",
        )
        return next((reasoning_text(value[name]) for name in names if value.get(name)), "")
    return as_text(value)


def _result(part: Any, place: Sentence) -> dict:
    """The tool turn for a tool result that is given as a part of another turn."""
    part = part if isinstance(part, dict) else {"content": part}
    inner = next((part[key] for key in _RESULT_WORDS if part.get(key) is not None), "")
    if isinstance(inner, list):
        inner = [item["json"] if isinstance(item, dict) and item.keys() == {"json"} else item for item in inner]
        if len(inner) == 1 and not _is_text_part(inner[0]):
            inner = inner[0]
    turn: dict = {"role": "tool", "content": content_of(inner, "tool", place).text}
    identity = next((part[key] for key in _RESULT_IDS if part.get(key)), None)
    if identity:
        turn["tool_call_id"] = str(identity)
    return turn | ({"name": part["name"]} if isinstance(part.get("name"), str) else {})

"""Takes the text of an answer apart as it grows: reasoning, content, tool calls.

    parts = AnswerParts(tool_format)
    deltas = [*parts.feed("<think>\\nTwo and"), *parts.feed(" two.\\n</think>\\n\\nFour."), *parts.finish()]

Each delta is what OpenAI's API calls one: {"reasoning_content": …}, {"content": …} or {"tool_calls": […]}. Knows
nothing about models and HTTP.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from studio.chat.stream_decoder import overlap
from studio.chat.tool_calls import ToolCallFormat
from studio.data.reasoning import CLOSE, OPEN


class AnswerParts:
    """format: the form of tool calls that are taken out of the text; None where none are expected. called: whether the
    answer holds tool calls.
    """

    def __init__(self, format: ToolCallFormat | None = None):
        self.format, self.called = format, False
        self._state, self._held = "start", ""
        self._strip = False  # whether white space at the front of what comes next is left out
        self._spoke = False

    def feed(self, piece: str) -> list[dict]:
        """The deltas that are certain now that `piece` has come."""
        self._held += piece
        made, before = [], None
        while before != (self._state, self._held):
            before = (self._state, self._held)
            made += getattr(self, f"_in_{self._state}")()
        return made

    def finish(self) -> list[dict]:
        """The remaining deltas. Text that began like a tool call and is none is content."""
        held, self._held = self._held, ""
        if self._state == "calls":
            if calls := self._read_calls(held):
                self.called = True
                return [{"tool_calls": calls}]
            return self._content(held)
        if self._state == "reasoning":
            return [{"reasoning_content": held.rstrip()}] if held.strip() else []
        return self._content(held)

    def _in_start(self) -> Iterator[dict]:
        text = self._held.lstrip()
        if text.startswith(OPEN):
            self._state, self._held, self._strip = "reasoning", text[len(OPEN) :], True
        elif text and not OPEN.startswith(text):
            self._state = "content"
        return iter(())

    def _in_reasoning(self) -> Iterator[dict]:
        if self._strip:
            self._held = self._held.lstrip()
            self._strip = not self._held
        text, mark, rest = self._held.partition(CLOSE)
        if mark:
            self._state, self._held, self._strip = "content", rest, True
            shown = text.rstrip()
        else:
            cut = len(text) - overlap(text, CLOSE)
            shown = text[:cut].rstrip()  # white space at the end is shown once more text follows
            self._held = text[len(shown) :]
        if shown:
            yield {"reasoning_content": shown}

    def _in_content(self) -> Iterator[dict]:
        if self._strip:
            self._held = self._held.lstrip()
            if not self._held:
                return
            self._strip = False
        if not self.format:
            yield from self._content(self._take(len(self._held)))
            return
        text = self._held
        if self.format.at_start:
            begins = not self._spoke and text.lstrip().startswith(self.format.openings)
            found = 0 if begins else None
        else:
            found = min((at for mark in self.format.openings if (at := text.find(mark)) >= 0), default=None)
        if found is not None:
            yield from self._content(self._take(found).rstrip())
            self._state = "calls"
        elif text.strip() or not self.format.at_start:
            cut = len(text) - max(overlap(text, mark) for mark in self.format.openings)
            yield from self._content(self._take(len(text[:cut].rstrip())))  # a call may follow the white space

    def _in_calls(self) -> Iterator[dict]:
        return iter(())

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _content(self, text: str) -> list[dict]:
        self._spoke = self._spoke or bool(text.strip())
        return [{"content": text}] if text else []

    def _read_calls(self, text: str) -> list[dict]:
        """Calls as OpenAI's API writes them; [] where the text is no complete call."""
        try:
            found = self.format.read(text)
        except (ValueError, AttributeError):
            return []
        return [
            {
                "index": at,
                "id": f"call_{secrets.token_hex(8)}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
            for at, (name, arguments) in enumerate(found)
        ]


def whole_message(deltas: list[dict]) -> dict:
    """The message that `deltas` make together. content is None where there are only tool calls."""
    message: dict = {"role": "assistant", "content": "".join(delta.get("content", "") for delta in deltas)}
    if reasoning := "".join(delta.get("reasoning_content", "") for delta in deltas):
        message["reasoning_content"] = reasoning
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    if calls:
        message["tool_calls"] = [{key: value for key, value in call.items() if key != "index"} for call in calls]
        message["content"] = message["content"] or None
    return message

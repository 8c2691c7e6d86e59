"""Tokens one by one → pieces of text that never show half a character, nor anything of what ends the answer.

It knows nothing about models; `end` is a `studio.chat.answer.End`.
"""

from __future__ import annotations

from studio.data.reasoning import channels_text
from studio.models.codec import Codec


class Pieces:
    """The text of one answer as it grows. `ended`: its end has come. `count`: tokens so far, the end not counted."""

    def __init__(self, codec: Codec, end):
        self.codec, self.end = codec, end
        self.ended = False
        self.count = 0
        self._ids: list[int] = []
        self._prefix = self._read = (
            0  # decoded so far: up to _read, of which from _prefix on is decoded again for its context
        )
        self._held = ""  # decoded, but may be the beginning of the end mark
        self._cut = False  # the end mark was there

    def add(self, token: int) -> str:
        """What can be shown now that `token` has come; often "" within a character of several tokens."""
        if token in self.end.ids:
            self.ended = True
            return ""
        self._ids.append(token)
        self.count += 1
        if self.codec.has_channels:
            return self._from_channels()
        before = self.codec.decode(self._ids[self._prefix : self._read])
        after = self.codec.decode(self._ids[self._prefix :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return self._show(after[len(before) :])

    def _from_channels(self) -> str:
        """What is new in the text of a model that speaks in channels."""
        text = channels_text(self.codec.decode(self._ids, keep_special=True))
        if text.endswith("\ufffd"):
            return ""
        new, self._read = text[self._read :], len(text)
        return new

    def rest(self) -> str:
        """What is left to show at the end."""
        if self.codec.has_channels:
            return self._from_channels()
        before = self.codec.decode(self._ids[self._prefix : self._read])
        after = self.codec.decode(self._ids[self._prefix :])
        self._prefix = self._read = len(self._ids)
        shown = self._show(after[len(before) :])
        held, self._held = self._held, ""
        return shown + held

    def _show(self, text: str) -> str:
        mark = self.end.text
        if not mark or self._cut:
            return "" if self._cut else text
        self._held += text
        if mark in self._held:
            shown, self._held = self._held.partition(mark)[0], ""
            self.ended = self._cut = True
            return shown
        keep = next(
            (n for n in range(min(len(mark) - 1, len(self._held)), 0, -1) if mark.startswith(self._held[-n:])), 0
        )
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

"""Incremental detokenisation: tokens one by one → pieces of text without partial characters or the end marker.

Knows nothing about models; `end` is a `studio.chat.generation.StopCondition`.
"""

from __future__ import annotations

from studio.models.chat_tokenizer import ChatTokenizer


class StreamDecoder:
    """The text of one answer as it grows. finished: its end has come. count: tokens so far, without the end token."""

    def __init__(self, tokenizer: ChatTokenizer, end):
        self.tokenizer, self.end = tokenizer, end
        self.finished = False
        self.count = 0
        self._ids: list[int] = []
        # Decoded so far: tokens up to _read; those from _prefix on are decoded again as context.
        self._prefix = self._read = 0
        self._pending = ""  # decoded, but may be the beginning of the end marker
        self._end_reached = False  # the end marker was found

    def add(self, token: int) -> str:
        """The text that can be shown now that `token` has come; "" within a character of several tokens."""
        if token in self.end.ids:
            self.finished = True
            return ""
        self._ids.append(token)
        self.count += 1
        if self.tokenizer.read_channels:
            return self._from_channels()
        before = self.tokenizer.decode(self._ids[self._prefix : self._read])
        after = self.tokenizer.decode(self._ids[self._prefix :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return self._visible_text(after[len(before) :])

    def _from_channels(self) -> str:
        """The new text of a model that writes in channels (GPT-OSS, Gemma 4)."""
        text = self.tokenizer.read_channels(self.tokenizer.decode(self._ids, keep_special_tokens=True))
        if text.endswith("\ufffd"):
            return ""
        new, self._read = text[self._read :], len(text)
        return new

    def flush(self) -> str:
        """The remaining text at the end."""
        if self.tokenizer.read_channels:
            return self._from_channels()
        before = self.tokenizer.decode(self._ids[self._prefix : self._read])
        after = self.tokenizer.decode(self._ids[self._prefix :])
        self._prefix = self._read = len(self._ids)
        shown = self._visible_text(after[len(before) :])
        held, self._pending = self._pending, ""
        return shown + held

    def _visible_text(self, text: str) -> str:
        mark = self.end.text
        if not mark or self._end_reached:
            return "" if self._end_reached else text
        self._pending += text
        if mark in self._pending:
            shown, self._pending = self._pending.partition(mark)[0], ""
            self.finished = self._end_reached = True
            return shown
        keep = next(
            (n for n in range(min(len(mark) - 1, len(self._pending)), 0, -1) if mark.startswith(self._pending[-n:])), 0
        )
        cut = len(self._pending) - keep
        shown, self._pending = self._pending[:cut], self._pending[cut:]
        return shown

"""Incremental detokenisation: tokens one by one → pieces of text without partial characters or stop texts.

Knows nothing about models; `end` is a `studio.chat.generation.StopCondition`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from studio.models.chat_tokenizer import ChatTokenizer


class StreamDecoder:
    """The text of one answer as it grows. finished: its end has come. count: tokens so far, without the end token.

    stop: further texts that end the answer and are not part of it. visible: special tokens that stay in the text,
    such as those around a tool call; the others are left out. before: tokens that the answer continues, decoded as
    context so that a word keeps its leading space.
    """

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        end,
        *,
        stop: Sequence[str] = (),
        visible: Collection[str] = frozenset(),
        before: Sequence[int] = (),
    ):
        self.tokenizer, self.end = tokenizer, end
        self.finished = False
        self.count = 0
        self._stops = [text for text in (end.text, *stop) if text]
        self._hidden = {id for text, id in tokenizer.special_tokens.items() if text not in visible}
        self._ids: list[int] = list(before)
        # Decoded so far: tokens up to _read; those from _prefix on are decoded again as context.
        self._prefix, self._read = 0, len(self._ids)
        self._pending = ""  # decoded, but may be the beginning of a stop text
        self._end_reached = False  # a stop text was found

    def add(self, token: int) -> str:
        """The text that can be shown now that `token` has come; "" within a character of several tokens."""
        if token in self.end.ids:
            self.finished = True
            return ""
        self.count += 1
        if self.tokenizer.read_channels:
            self._ids.append(token)
            return self._visible_text(self._from_channels())
        if token in self._hidden:
            return ""
        self._ids.append(token)
        before, after = self._decode(self._ids[self._prefix : self._read]), self._decode(self._ids[self._prefix :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return self._visible_text(after[len(before) :])

    def flush(self) -> str:
        """The remaining text at the end."""
        if self.tokenizer.read_channels:
            shown = self._visible_text(self._from_channels())
        else:
            before, after = self._decode(self._ids[self._prefix : self._read]), self._decode(self._ids[self._prefix :])
            self._prefix = self._read = len(self._ids)
            shown = self._visible_text(after[len(before) :])
        held, self._pending = self._pending, ""
        return shown + held

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, keep_special_tokens=True)

    def _from_channels(self) -> str:
        """The new text of a model that writes in channels (GPT-OSS, Gemma 4)."""
        text = self.tokenizer.read_channels(self._decode(self._ids))
        if text.endswith("\ufffd"):
            return ""
        new, self._read = text[self._read :], len(text)
        return new

    def _visible_text(self, text: str) -> str:
        if not self._stops or self._end_reached:
            return "" if self._end_reached else text
        self._pending += text
        found = min((at for stop in self._stops if (at := self._pending.find(stop)) >= 0), default=None)
        if found is not None:
            shown, self._pending = self._pending[:found], ""
            self.finished = self._end_reached = True
            return shown
        cut = len(self._pending) - max(overlap(self._pending, stop) for stop in self._stops)
        shown, self._pending = self._pending[:cut], self._pending[cut:]
        return shown


def overlap(text: str, mark: str) -> int:
    """The length of the longest end of `text` that is a beginning of `mark`, and shorter than it."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-n:])), 0)

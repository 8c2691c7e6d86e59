"""Text: causal language modelling on plain text; every token is labelled."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.models.chat_tokenizer import ChatTokenizer
from studio.options import option
from studio.tasks.base import Encoded, Task


class Text(Task):
    """Continues text in the style of the data."""

    title: ClassVar[str] = "Text"
    verb: ClassVar[str] = "write"
    help: ClassVar[str] = "Continue text in the style and with the knowledge of your documents."
    order: ClassVar[int] = 2
    record_kind: ClassVar[str] = "text"
    splits_long_texts: ClassVar[bool] = True

    name: Literal["text"] = option("text", "Task", "", hidden=True)
    append_eos: bool = option(
        True,
        "Append the end token (EOS)",
        "Adds the end-of-text token after each text, so that the model learns to stop.",
    )

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        """Split a text longer than `max_length` into several examples, so that no token is lost."""
        ids = tokenizer.encode(record["text"], add_special_tokens=True).ids
        if self.append_eos and tokenizer.eos_ids and ids[-1:] != tokenizer.eos_ids[:1]:
            ids = [*ids, tokenizer.eos_ids[0]]
        parts = [ids[at : at + max_length] for at in range(0, len(ids), max_length)]
        return [Encoded(part, list(part)) for part in parts if len(part) > 1] or [Encoded(ids, list(ids))]

    def example_lengths(self, rows: list[list[int]], max_length: int) -> list[int]:
        parts = (
            min(max_length, length - at)
            for lengths in rows
            for length in lengths
            for at in range(0, length, max_length)
        )
        return [part for part in parts if part > 1]

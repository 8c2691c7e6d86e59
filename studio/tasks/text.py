"""Text: running text, every word of which is learnt."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.models.codec import Codec
from studio.options import option
from studio.tasks.base import Encoded, Task


class Text(Task):
    """Continues text in the manner of the data."""

    title: ClassVar[str] = "Text"
    verb: ClassVar[str] = "write"
    help: ClassVar[str] = "Continue text in the voice and with the knowledge of your documents."
    order: ClassVar[int] = 2
    wants: ClassVar[str] = "text"
    splits: ClassVar[bool] = True

    name: Literal["text"] = option("text", "Task", "", hidden=True)
    mark_end: bool = option(
        True, "Learn where a text ends", "Put the end-of-text token behind each text, so that the model learns to stop."
    )

    def encode(self, record: dict, codec: Codec, max_length: int) -> list[Encoded]:
        """A text longer than `max_length` becomes several examples, so that nothing is left out."""
        ids = codec.encode(record["text"], special=True).ids
        if self.mark_end and codec.end_ids and ids[-1:] != codec.end_ids[:1]:
            ids = [*ids, codec.end_ids[0]]
        parts = [ids[at : at + max_length] for at in range(0, len(ids), max_length)]
        return [Encoded(part, list(part)) for part in parts if len(part) > 1] or [Encoded(ids, list(ids))]

    def pieces(self, rows: list[list[int]], max_length: int) -> list[int]:
        parts = (
            min(max_length, length - at)
            for lengths in rows
            for length in lengths
            for at in range(0, length, max_length)
        )
        return [part for part in parts if part > 1]

"""Classification: a text gets its label, or its labels."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.models.codec import Codec
from studio.options import option
from studio.tasks.base import IGNORED, Encoded, Task
from studio.words import Sentence, StudioError


def encode_text(text: str, codec: Codec, max_length: int, names: tuple[str, ...]) -> Encoded:
    """A text whose classes `names` are learnt; none of its tokens is."""
    ids = codec.encode(text, special=True).ids or [codec.pad_id]
    return Encoded(ids[:max_length], [IGNORED] * min(len(ids), max_length), max(0, len(ids) - max_length), names)


class Classification(Task):
    """Says which of some classes a text belongs to, with a probability for each."""

    title: ClassVar[str] = "Classification"
    verb: ClassVar[str] = "classify"
    help: ClassVar[str] = (
        "Sort texts into classes, from examples with their labels. It answers with a probability for each class, not with words."
    )
    order: ClassVar[int] = 4
    wants: ClassVar[str] = "label"
    task_type: ClassVar[str] = "SEQ_CLS"
    kind: ClassVar[str] = "classification"

    name: Literal["classification"] = option("classification", "Task", "", hidden=True)
    several: bool = option(
        False,
        "Several labels",
        "A text may have several labels, or none where its cell is empty; each label is decided by itself.",
    )
    separator: str = option(
        ";",
        "Separator",
        "What stands between several labels in one column, as in 'late; damaged'.",
        min_length=1,
        max_length=3,
        advanced=True,
    )

    @classmethod
    def suited(cls, mapping, separator):
        several = mapping.shape == "label_columns" or separator is not None
        return {"several": several, **({"separator": separator} if separator else {})}

    @property
    def labels_between(self):
        return self.separator if self.several else ""

    def encode(self, record: dict, codec: Codec, max_length: int) -> list[Encoded]:
        return [encode_text(record["text"], codec, max_length, self.names(record))]

    def measure(self, record: dict, codec: Codec) -> tuple[int, int | None]:
        return super().measure(record, codec)[0], 0  # what is learnt is the label, which is never cut

    @property
    def units(self):
        return super().units | {"loss": Sentence("nats per label") if self.several else Sentence("nats per example")}

    def names(self, record: dict) -> tuple[str, ...]:
        """The record's labels, each once and in order of the alphabet."""
        found = record["label"] if isinstance(record["label"], list) else [record["label"]]
        if not self.several and not found:
            raise StudioError(
                "One row has no label; switch on Several labels, with which a text may have none, or give each text one label."
            )
        if not self.several and len(found) > 1:
            raise StudioError(
                "One row has the labels {labels}; switch on Several labels, or give each text one label.",
                labels=", ".join(found),
            )
        return tuple(sorted(found))

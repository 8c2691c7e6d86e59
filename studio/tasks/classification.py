"""Text classification, with one label per text or several (multi-label)."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.models.chat_tokenizer import ChatTokenizer
from studio.options import option
from studio.tasks.base import IGNORED, Encoded, Task
from studio.words import Sentence, StudioError


def encode_text(text: str, tokenizer: ChatTokenizer, max_length: int, names: tuple[str, ...]) -> Encoded:
    """Encode a text with its class names; no token is labelled."""
    ids = tokenizer.encode(text, add_special_tokens=True).ids or [tokenizer.pad_id]
    return Encoded(ids[:max_length], [IGNORED] * min(len(ids), max_length), max(0, len(ids) - max_length), names)


class Classification(Task):
    """Predicts which of some classes a text belongs to, with a probability for each."""

    title: ClassVar[str] = "Classification"
    verb: ClassVar[str] = "classify"
    help: ClassVar[str] = (
        "Sort texts into classes, from examples with their labels. It answers with a probability for each class, "
        "not with words."
    )
    order: ClassVar[int] = 4
    record_kind: ClassVar[str] = "label"
    task_type: ClassVar[str] = "SEQ_CLS"
    kind: ClassVar[str] = "classification"

    name: Literal["classification"] = option("classification", "Task", "", hidden=True)
    multi_label: bool = option(
        False,
        "Several labels",
        "Multi-label classification: a text may have several labels, or none where its cell is empty; each label "
        "is predicted independently.",
    )
    separator: str = option(
        ";",
        "Separator",
        "The text between several labels in one column, as in 'late; damaged'.",
        min_length=1,
        max_length=3,
        advanced=True,
    )

    @classmethod
    def options_for_mapping(cls, mapping, separator):
        multi_label = mapping.shape == "label_columns" or separator is not None
        return {"multi_label": multi_label, **({"separator": separator} if separator else {})}

    @property
    def label_separator(self):
        return self.separator if self.multi_label else ""

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        return [encode_text(record["text"], tokenizer, max_length, self.class_names(record))]

    def token_counts(self, record: dict, tokenizer: ChatTokenizer) -> tuple[int, int | None]:
        return super().token_counts(record, tokenizer)[0], 0  # the target is the label, which is never truncated

    @property
    def units(self):
        return super().units | {
            "loss": Sentence("nats per label") if self.multi_label else Sentence("nats per example")
        }

    def class_names(self, record: dict) -> tuple[str, ...]:
        """The record's labels, sorted. Raises StudioError if it has none or several and the task is not multi-label."""
        found = record["label"] if isinstance(record["label"], list) else [record["label"]]
        if not self.multi_label and not found:
            raise StudioError(
                "One row has no label; switch on Several labels, with which a text may have none, or give each "
                "text one label."
            )
        if not self.multi_label and len(found) > 1:
            raise StudioError(
                "One row has the labels {labels}; switch on Several labels, or give each text one label.",
                labels=", ".join(found),
            )
        return tuple(sorted(found))

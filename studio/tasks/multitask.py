"""Multi-task classification: several label sets, with one label of each per text."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.data.records import set_label
from studio.options import option
from studio.tasks.base import Task
from studio.tasks.classification import encode_text
from studio.words import Sentence


class MultiTask(Task):
    """Predicts one label of each of several label sets for a text, with a probability for each label.

    Each label column is a label set with a classification head of its own; the adapter is shared by all of them, as
    in the multi-task training of P-Tuning v2 (Liu et al. 2022, arXiv:2110.07602, §3.2).
    """

    title: ClassVar[str] = "Multi-task classification"
    verb: ClassVar[str] = "classify by several label sets"
    help: ClassVar[str] = (
        "Sort texts by several label sets at once, such as topic and tone: one column for each, which a row may "
        "leave empty. All share one adapter, and each has a head of its own."
    )
    order: ClassVar[int] = 5
    record_kind: ClassVar[str] = "label_sets"
    task_type: ClassVar[str] = "SEQ_CLS"
    kind: ClassVar[str] = "multitask"
    multi_label: ClassVar[bool] = False  # one label per text in each set

    name: Literal["multitask"] = option("multitask", "Task", "", hidden=True)

    def encode(self, record, tokenizer, max_length):
        return [encode_text(record["text"], tokenizer, max_length, self.class_names(record))]

    def token_counts(self, record, tokenizer):
        return super().token_counts(record, tokenizer)[0], 0  # the targets are the labels, which are never truncated

    @property
    def units(self):
        return super().units | {"loss": Sentence("nats per label")}

    def class_names(self, record: dict) -> tuple[str, ...]:
        """The record's labels, each prefixed with the name of its set; empty for a text without labels."""
        return tuple(set_label(name, label) for name, label in (record["label"] or {}).items())

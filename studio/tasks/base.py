"""The base class of tasks: which records a task needs, and how a record is encoded as tokens with labels.

`encode` is the only function that converts records to tokens: training, token view, length histogram and forecast call
it. `question` gives the prompts for evaluation. Uses no torch.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from studio.data.mapping import Mapping
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.shape import Shape
from studio.options import Options
from studio.words import Sentence

IGNORED = -100  # label that the loss ignores: ignore_index of torch.nn.functional.cross_entropy


@dataclass(frozen=True)
class Encoded:
    """One encoded example.

    labels: the token id of each labelled token, -100 for the others. truncated_tokens: number of tokens that were cut
    off. class_names: the classes of the example, for classification tasks. weights: the loss weight of each token; None
    if it is 1 for every labelled token.
    """

    ids: list[int]
    labels: list[int]
    truncated_tokens: int = 0
    class_names: tuple[str, ...] = ()
    weights: list[float] | None = None

    def __getstate__(self) -> dict:
        """Compact pickle state: ids as 4 bytes per token, labels as 1 bit, weights as 4 bytes if there are any."""
        labelled = np.array(self.labels, np.int32) != IGNORED
        weights = None if self.weights is None else np.array(self.weights, np.float32).tobytes()
        return {
            **vars(self),
            "ids": np.array(self.ids, np.uint32).tobytes(),
            "labels": np.packbits(labelled).tobytes(),
            "weights": weights,
        }

    def __setstate__(self, state: dict) -> None:
        ids = np.frombuffer(state["ids"], np.uint32).astype(np.int64)
        labelled = np.unpackbits(np.frombuffer(state["labels"], np.uint8), count=len(ids)).astype(bool)
        weights = None if state["weights"] is None else np.frombuffer(state["weights"], np.float32).tolist()
        vars(self).update(state, ids=ids.tolist(), labels=np.where(labelled, ids, IGNORED).tolist(), weights=weights)

    @property
    def labelled(self) -> int:
        """Number of tokens in the loss; the first token is never predicted, so it does not count."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def sequences(self) -> list[Encoded]:
        """The token sequences that the model processes for this example: itself, or two answers to one prompt."""
        return [self]


@dataclass(frozen=True)
class Question:
    """A prompt for evaluation: the messages, the expected answer, and the available tools."""

    messages: list[dict]
    expected: str
    tools: list | None = None


class Task(Options):
    """Base class of all tasks."""

    title: ClassVar[str]
    verb: ClassVar[str]  # completes the sentence "Teach the model to …"
    help: ClassVar[str]
    order: ClassVar[int] = 100
    record_kind: ClassVar[str]  # the kind of record that the task needs from studio.data
    task_type: ClassVar[str] = "CAUSAL_LM"  # peft's task type
    modality: ClassVar[str] = "text"  # of the base model, or "image"
    sequences_per_example: ClassVar[int] = 1  # token sequences per example, for the forecast
    uses_chat_template: ClassVar[bool] = False  # whether records are rendered by the chat template
    splits_long_texts: ClassVar[bool] = False  # whether an over-long text is split into several examples
    kind: ClassVar[str] = "generation"  # module in studio/training/kinds/ for training and evaluation

    @classmethod
    def options_for_mapping(cls, mapping: Mapping, separator: str | None) -> dict:
        """Defaults of the options that depend on how the data is mapped.

        separator: the separator found between several labels in one cell, "" if cells are lists, None if each row has
        one label.
        """
        return {}

    @property
    def label_separator(self) -> str:
        """The separator between several labels in one cell; "" if a row has one label."""
        return ""

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        """Encode the record as examples of at most `max_length` tokens: one, or several for a long text."""
        raise TypeError(f"{type(self).__name__} does not say how it encodes")

    @classmethod
    def head(cls) -> str:
        """The model head for this task: a key of `studio.models.load.HEADS`."""
        return (
            "causal_lm"
            if cls.task_type == "CAUSAL_LM"
            else "image_classification"
            if cls.modality == "image"
            else "text_classification"
        )

    @classmethod
    def model_refusal(cls, shape: Shape) -> Sentence | None:
        """Why a model of `shape` cannot be fine-tuned for this task; None if it can."""
        if shape.modality == cls.modality:
            return None
        if cls.modality == "image":
            return Sentence(
                "{task} needs a model that looks at pictures, but {architecture} reads text; choose the Starter "
                "for pictures on the Method tab.",
                task=Sentence(cls.title),
                architecture=shape.architecture,
            )
        return Sentence(
            "{task} needs a model that reads text, but {architecture} looks at pictures; choose the Starter on "
            "the Method tab.",
            task=Sentence(cls.title),
            architecture=shape.architecture,
        )

    def render(self, record: dict, tokenizer: ChatTokenizer) -> str:
        """The record as the text that is tokenised."""
        return "\n\n".join(
            tokenizer.decode(row.ids, keep_special_tokens=True)
            for part in self.encode(record, tokenizer, 1 << 30)
            for row in part.sequences
        )

    def token_counts(self, record: dict, tokenizer: ChatTokenizer) -> tuple[list[int], int | None]:
        """(untruncated length of each token sequence of the record, index of the first labelled token or None), for
        report and forecast.
        """
        parts = self.encode(record, tokenizer, 1 << 30)
        firsts = [
            at
            for part in parts
            for at in itertools.islice((at for at, label in enumerate(part.labels) if at and label != IGNORED), 1)
        ]
        return [len(row.ids) for part in parts for row in part.sequences], min(firsts, default=None)

    def drops_content(self, record: dict, tokenizer: ChatTokenizer) -> bool:
        """Whether the record has content that the chat template does not render, so that the model never sees it."""
        return False

    def example_lengths(self, rows: list[list[int]], max_length: int) -> list[int]:
        """Length of each example in tokens, before truncation.

        rows: for each record the lengths of its token sequences, as returned by `token_counts`.
        """
        return [max(lengths) for lengths in rows]

    @property
    def units(self) -> dict[str, Sentence]:
        """Units of a run's curves: "loss" and "speed"."""
        return {"loss": Sentence("nats per token"), "speed": Sentence("tokens/s")}

    @property
    def reference_passes(self) -> int:
        """Additional forward passes per row without gradients, such as those of a reference model, for the forecast."""
        return 0

    def refusal(self, recipe) -> Sentence | None:
        """Why this task cannot be trained with `recipe` (a `studio.recipe.Recipe`); None if it can. Limits of the
        method are in `Method.refusal`.
        """
        return None

    def question(self, record: dict) -> Question | None:
        """The evaluation prompt of the record; None if it has no question and answer."""
        return None

"""What a task is: which records it wants, and how a record becomes tokens with a loss mask.

`encode` is the one place where data becomes tokens: training, token preview, length histogram and forecast call it, and
`question` gives Chat and the evaluation the same prompt. No torch here.
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

IGNORED = -100  # the label that the loss skips, as in torch.nn.functional.cross_entropy


@dataclass(frozen=True)
class Encoded:
    """One example as the model gets it. labels: the token itself where it is learnt, else -100. cut: tokens left out.

    names: the classes that it belongs to, where classes are learnt in place of tokens. weights: of each token the factor of its loss;
    None where all are 1.
    """

    ids: list[int]
    labels: list[int]
    truncated_tokens: int = 0
    class_names: tuple[str, ...] = ()
    weights: list[float] | None = None

    def __getstate__(self) -> dict:
        """Four bytes a token where it is pickled: `labels` say no more than which of the tokens are learnt."""
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
        """How many tokens the loss sees; the first token can never be predicted."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def sequences(self) -> list[Encoded]:
        """The rows of tokens that a model works through for it: itself, or two answers to one prompt."""
        return [self]


@dataclass(frozen=True)
class Question:
    """What to ask the model to see what it learnt: the messages so far, the answer expected, and the tools it may call."""

    messages: list[dict]
    expected: str
    tools: list | None = None


class Task(Options):
    """Base of all tasks."""

    title: ClassVar[str]
    verb: ClassVar[str]  # completes "Teach the model to …"
    help: ClassVar[str]
    order: ClassVar[int] = 100
    record_kind: ClassVar[str]  # the kind of record that studio.data is asked for
    task_type: ClassVar[str] = "CAUSAL_LM"  # peft's name
    modality: ClassVar[str] = "text"  # or "image": what a base model must be able to read
    sequences_per_example: ClassVar[int] = 1  # rows of tokens that one example makes, as the forecast counts
    uses_chat_template: ClassVar[bool] = False  # whether a record is written by the chat template
    splits_long_texts: ClassVar[bool] = False  # a row that is too long becomes several examples, so that nothing is cut
    kind: ClassVar[str] = "generation"  # how it is fine-tuned and measured: a module in studio/training/kinds/

    @classmethod
    def options_for_mapping(cls, mapping: Mapping, separator: str | None) -> dict:
        """The options that depend on how the data is mapped, as they suit `mapping`. separator: what was seen between several labels in one
        cell, "" where they are lists, None where each row has one."""
        return {}

    @property
    def label_separator(self) -> str:
        """What stands between several labels in one cell; "" where a row has one label."""
        return ""

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        """The record as examples of at most `max_length` tokens (one, or several for a long text)."""
        raise TypeError(f"{type(self).__name__} does not say how it encodes")

    @classmethod
    def head(cls) -> str:
        """What stands on top of a base model for it: a key of `studio.models.load.HEADS`."""
        return (
            "causal_lm"
            if cls.task_type == "CAUSAL_LM"
            else "image_classification"
            if cls.modality == "image"
            else "text_classification"
        )

    @classmethod
    def model_refusal(cls, shape: Shape) -> Sentence | None:
        """Why a model of `shape` cannot be fine-tuned this task; None if it can."""
        if shape.modality == cls.modality:
            return None
        if cls.modality == "image":
            return Sentence(
                "{task} needs a model that looks at pictures, but {architecture} reads text; choose the Starter for pictures on the Method tab.",
                task=Sentence(cls.title),
                architecture=shape.architecture,
            )
        return Sentence(
            "{task} needs a model that reads text, but {architecture} looks at pictures; choose the Starter on the Method tab.",
            task=Sentence(cls.title),
            architecture=shape.architecture,
        )

    def render(self, record: dict, tokenizer: ChatTokenizer) -> str:
        """The record as the text that becomes tokens."""
        return "\n\n".join(
            tokenizer.decode(row.ids, keep_special_tokens=True)
            for part in self.encode(record, tokenizer, 1 << 30)
            for row in part.sequences
        )

    def token_counts(self, record: dict, tokenizer: ChatTokenizer) -> tuple[list[int], int | None]:
        """(tokens of each row that the record makes, uncut, where the first one stands that is learnt or None), for the report and the forecast."""
        parts = self.encode(record, tokenizer, 1 << 30)
        firsts = [
            at
            for part in parts
            for at in itertools.islice((at for at, label in enumerate(part.labels) if at and label != IGNORED), 1)
        ]
        return [len(row.ids) for part in parts for row in part.sequences], min(firsts, default=None)

    def drops_content(self, record: dict, tokenizer: ChatTokenizer) -> bool:
        """Whether the record holds something that the chat template does not write, so that no model would see it."""
        return False

    def example_lengths(self, rows: list[list[int]], max_length: int) -> list[int]:
        """Tokens of each example, uncut. rows: of each record the tokens of every row of tokens that it makes, as `measure` gives them."""
        return [max(lengths) for lengths in rows]

    @property
    def units(self) -> dict[str, Sentence]:
        """In what a run's curves are measured: "loss" and "speed"."""
        return {"loss": Sentence("nats per token"), "speed": Sentence("tokens/s")}

    @property
    def reference_passes(self) -> int:
        """Forward passes without gradients that each row takes beside the one that is learnt from, as the forecast counts."""
        return 0

    def refusal(self, recipe) -> Sentence | None:
        """Why this cannot be learnt as `recipe` (a `studio.recipe.Recipe`) wants; None if it can. What the method itself cannot
        do, `Method.refusal` says."""
        return None

    def question(self, record: dict) -> Question | None:
        """What to ask at an evaluation, or None where the task has no question and answer."""
        return None

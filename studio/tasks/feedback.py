"""Feedback: KTO on single answers rated good or bad (unpaired preference data), such as thumbs up and down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from studio.data.reasoning import split_reasoning
from studio.models.chat_tokenizer import ChatTokenizer
from studio.options import option
from studio.tasks.base import Encoded, Question, Task
from studio.tasks.chat import Chat, Reasoning, reasoning_option, system_option
from studio.tasks.preference import REFERENCE_PASSES, as_chat_task, conversation, encode_answer, refusal
from studio.words import Sentence


@dataclass(frozen=True)
class RatedAnswer(Encoded):
    """An encoded answer and whether it is desirable."""

    good: bool = field(kw_only=True)


class Feedback(Task):
    """Trains on single answers with thumbs up or thumbs down."""

    title: ClassVar[str] = "Feedback"
    verb: ClassVar[str] = "follow the feedback"
    help: ClassVar[str] = "Give answers like those marked good more often, and like those marked bad less (KTO)."
    order: ClassVar[int] = 4
    record_kind: ClassVar[str] = "unpaired"
    uses_chat_template: ClassVar[bool] = True
    kind: ClassVar[str] = "preference"
    algorithm: ClassVar[str] = "kto"

    name: Literal["feedback"] = option("feedback", "Task", "", hidden=True)
    beta: float = option(
        0.1,
        "Beta β",
        "How closely the model stays to the reference model: 0.1 is usual, less lets it change more.",
        gt=0,
        le=10,
    )
    desirable_weight: float = option(
        1.0,
        "Weight of good answers",
        "Raise it where good answers are rarer than bad ones: weight × number should be about the same for both.",
        gt=0,
        le=100,
    )
    undesirable_weight: float = option(
        1.0, "Weight of bad answers", "Raise it where bad answers are rarer than good ones.", gt=0, le=100
    )
    sft_weight: float = option(
        0.0, "SFT loss weight", "Weight of an added SFT loss on the good answers, as in chat.", ge=0, le=10
    )
    reasoning: Reasoning = reasoning_option()
    system: str = system_option()

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        found = encode_answer(record, "completion", self, tokenizer, max_length)
        return [RatedAnswer(found.ids, found.labels, found.truncated_tokens, good=record["label"])]

    @property
    def reference_passes(self) -> int:
        return REFERENCE_PASSES[self.algorithm]

    @property
    def units(self):
        return super().units | {"loss": Sentence("per example")}

    def question(self, record: dict) -> Question | None:
        """The prompt with the answer as the expected one; None for an undesirable answer."""
        return (
            Question(
                Chat(system=self.system).messages({"messages": record["prompt"]}),
                split_reasoning(record["completion"])[1],
                record.get("tools"),
            )
            if record["label"]
            else None
        )

    def drops_content(self, record: dict, tokenizer: ChatTokenizer) -> bool:
        return as_chat_task(self).drops_content(conversation(record, "completion"), tokenizer)

    def refusal(self, recipe) -> Sentence | None:
        return refusal(recipe, self.algorithm)

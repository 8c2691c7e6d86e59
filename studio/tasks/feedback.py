"""Feedback: answers that were marked good or bad, each by itself, as thumbs up and down in a chat give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from studio.data.reasoning import split_reasoning
from studio.models.codec import Codec
from studio.options import option
from studio.tasks.base import Encoded, Question, Task
from studio.tasks.chat import Chat, Reasoning, reasoning_option
from studio.tasks.preference import COMPARISONS, answered, as_chat, conversation, refusal
from studio.words import Sentence


@dataclass(frozen=True)
class Judged(Encoded):
    """An answer and whether it is wanted."""

    good: bool = field(kw_only=True)


class Feedback(Task):
    """Learns from thumbs up and thumbs down."""

    title: ClassVar[str] = "Feedback"
    verb: ClassVar[str] = "heed the feedback"
    help: ClassVar[str] = "Give answers like those marked good more often, and like those marked bad less (KTO)."
    order: ClassVar[int] = 4
    wants: ClassVar[str] = "unpaired"
    templated: ClassVar[bool] = True
    kind: ClassVar[str] = "preference"
    algorithm: ClassVar[str] = "kto"

    name: Literal["feedback"] = option("feedback", "Task", "", hidden=True)
    beta: float = option(
        0.1,
        "Beta β",
        "How closely the model is held to what it was before: 0.1 is usual, less lets it change more.",
        gt=0,
        le=10,
    )
    good_weight: float = option(
        1.0,
        "Weight of good answers",
        "Raise it where good answers are rarer than bad ones: weight × number should be about the same for both.",
        gt=0,
        le=100,
    )
    bad_weight: float = option(
        1.0, "Weight of bad answers", "Raise it where bad answers are rarer than good ones.", gt=0, le=100
    )
    imitation: float = option(0.0, "Imitation", "Weight of also learning the good answers as in chat.", ge=0, le=10)
    reasoning: Reasoning = reasoning_option()
    system: str = option(
        "",
        "System prompt",
        "Put before every conversation that has no system message of its own. Empty: none.",
        max_length=4000,
    )

    def encode(self, record: dict, codec: Codec, max_length: int) -> list[Encoded]:
        found = answered(record, "completion", self, codec, max_length)
        return [Judged(found.ids, found.labels, found.cut, good=record["label"])]

    @property
    def comparisons(self) -> int:
        return COMPARISONS[self.algorithm]

    @property
    def units(self):
        return super().units | {"loss": Sentence("per example")}

    def question(self, record: dict) -> Question | None:
        """Only an answer that was wanted can be hoped for."""
        return (
            Question(
                Chat(system=self.system).messages({"messages": record["prompt"]}),
                split_reasoning(record["completion"])[1],
                record.get("tools"),
            )
            if record["label"]
            else None
        )

    def unseen(self, record: dict, codec: Codec) -> bool:
        return as_chat(self).unseen(conversation(record, "completion"), codec)

    def refusal(self, recipe) -> Sentence | None:
        return refusal(recipe, self.algorithm)

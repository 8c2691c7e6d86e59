"""Preference: pairs of a better and a worse answer to one prompt, from which the difference is learnt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from studio.data.reasoning import split_reasoning
from studio.models.chat_tokenizer import ChatTokenizer
from studio.options import option
from studio.tasks.base import Encoded, Question, Task
from studio.tasks.chat import Chat, Reasoning, reasoning_option
from studio.words import Sentence

ALGORITHMS = {
    "dpo": "DPO: learns the difference of each pair",
    "ipo": "IPO: DPO that does not overdo it",
    "kto": "KTO: judges each answer by itself",
    "orpo": "ORPO (experimental): needs no reference",
}

REFERENCE_PASSES = {
    "dpo": 1,
    "ipo": 1,
    "kto": 3,
    "orpo": 0,
}  # with the model before training; KTO: also of mismatched answers, by both


@dataclass(frozen=True)
class Pair(Encoded):
    """Two answers to one prompt. ids, labels and cut are those of the better one."""

    rejected: Encoded = field(kw_only=True)

    @property
    def labelled(self) -> int:
        """Learnt tokens of the shorter answer: a pair in which one of the two has none teaches nothing."""
        return min(super().labelled, self.rejected.labelled)

    @property
    def sequences(self) -> list[Encoded]:
        return [self, self.rejected]


class Preference(Task):
    """Learns which of two answers is the better one."""

    title: ClassVar[str] = "Preferences"
    verb: ClassVar[str] = "prefer the better answers"
    help: ClassVar[str] = "Give better answers more often and worse ones less, from pairs of both."
    order: ClassVar[int] = 3
    record_kind: ClassVar[str] = "preference"
    uses_chat_template: ClassVar[bool] = True
    kind: ClassVar[str] = "preference"
    sequences_per_example: ClassVar[int] = 2

    name: Literal["preference"] = option("preference", "Task", "", hidden=True)
    algorithm: Literal["dpo", "ipo", "kto", "orpo"] = option(
        "dpo",
        "Way of learning",
        "How the pairs are learnt from. DPO, IPO and KTO compare with the model before training, ORPO does not.",
        labels=ALGORITHMS,
    )
    beta: float = option(
        0.1,
        "Beta β",
        "How closely the model is held to what it was before: 0.1 is usual, less lets it change more. With ORPO the weight of the comparison.",
        gt=0,
        le=10,
    )
    sft_weight: float = option(
        0.0,
        "Imitation",
        "Weight of also learning the better answers as in chat. Above 0 the model says them, and does not only find them likelier than the worse ones.",
        ge=0,
        le=10,
    )
    reasoning: Reasoning = reasoning_option()
    system: str = option(
        "",
        "System prompt",
        "Put before every conversation that has no system message of its own. Empty: none.",
        max_length=4000,
    )

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        chosen, rejected = (encode_answer(record, key, self, tokenizer, max_length) for key in ("chosen", "rejected"))
        return [Pair(chosen.ids, chosen.labels, chosen.truncated_tokens, rejected=rejected)]

    @property
    def reference_passes(self) -> int:
        return REFERENCE_PASSES[self.algorithm]

    @property
    def units(self):
        return super().units | {"loss": Sentence("per example")}

    def question(self, record: dict) -> Question:
        return Question(
            Chat(system=self.system).messages({"messages": record["prompt"]}),
            split_reasoning(record["chosen"])[1],
            record.get("tools"),
        )

    def drops_content(self, record: dict, tokenizer: ChatTokenizer) -> bool:
        return any(
            as_chat_task(self).drops_content(conversation(record, key), tokenizer) for key in ("chosen", "rejected")
        )

    def refusal(self, recipe) -> Sentence | None:
        return refusal(recipe, self.algorithm)


def conversation(record: dict, key: str) -> dict:
    """A record's prompt with the answer that stands under `key`, as a record of the chat task."""
    return {**record, "messages": [*record["prompt"], {"role": "assistant", "content": record[key]}]}


def as_chat_task(task: Task) -> Chat:
    """The chat task that learns the last answer of a conversation as `task` (Preference or Feedback) does."""
    return Chat(train_on="last", system=task.system, reasoning=task.reasoning)


def encode_answer(record: dict, key: str, task: Task, tokenizer: ChatTokenizer, max_length: int) -> Encoded:
    """The conversation with the answer under `key`, exactly as the chat task encodes it, the answer alone being learnt."""
    return as_chat_task(task).encode(conversation(record, key), tokenizer, max_length)[0]


def refusal(recipe, algorithm: str) -> Sentence | None:
    """Why `algorithm` cannot be run as `recipe` wants; None if it can."""
    if algorithm != "orpo" and not recipe.method.leaves_base_unchanged:
        return Sentence(
            "{algorithm} compares with the model before training, and {method} cannot be switched off to ask it. Choose ORPO, or another method such as LoRA.",
            algorithm=algorithm.upper(),
            method=Sentence(recipe.method.title),
        )
    if algorithm == "kto" and recipe.training.batch_size < 2:
        return Sentence("KTO compares each prompt with another row's answer, so it needs a batch size of 2 or more.")
    if recipe.training.packing:
        return Sentence(
            "Packing puts several examples into one row, which learning from preferences cannot do. Switch Packing off."
        )
    return None

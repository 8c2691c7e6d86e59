"""Preference optimisation: DPO, IPO, KTO and ORPO on pairs of a chosen and a rejected answer to one prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from studio.data.reasoning import split_reasoning
from studio.models.chat_tokenizer import ChatTokenizer
from studio.options import option
from studio.tasks.base import Encoded, Question, Task
from studio.tasks.chat import Chat, Reasoning, reasoning_option, system_option
from studio.words import Sentence

ALGORITHMS = {
    "dpo": "DPO: widens the margin of each pair",
    "ipo": "IPO: DPO towards a fixed margin",
    "kto": "KTO: rates each answer by itself",
    "orpo": "ORPO (experimental): needs no reference model",
}

REFERENCE_PASSES = {"dpo": 1, "ipo": 1, "kto": 3, "orpo": 0}
"""Forward passes without gradients per row, by the reference model; KTO adds mismatched answers, for both models."""


@dataclass(frozen=True)
class Pair(Encoded):
    """Two answers to one prompt. ids, labels and truncated_tokens are those of the chosen one."""

    rejected: Encoded = field(kw_only=True)

    @property
    def labelled(self) -> int:
        """Labelled tokens of the answer with fewer of them: a pair in which either has none gives no gradient."""
        return min(super().labelled, self.rejected.labelled)

    @property
    def sequences(self) -> list[Encoded]:
        return [self, self.rejected]


class Preference(Task):
    """Trains the model to prefer the chosen answers over the rejected ones."""

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
        "Loss type",
        "How the pairs are trained on. DPO, IPO and KTO compare with the reference model (the model before "
        "fine-tuning), ORPO does not.",
        labels=ALGORITHMS,
    )
    beta: float = option(
        0.1,
        "Beta β",
        "How closely the model stays to the reference model: 0.1 is usual, less lets it change more. With ORPO "
        "the weight of the odds ratio loss.",
        gt=0,
        le=10,
    )
    sft_weight: float = option(
        0.0,
        "SFT loss weight",
        "Weight of an added SFT loss on the better answers, as in chat. Above 0 the model also generates them, "
        "and does not only rank them above the worse ones.",
        ge=0,
        le=10,
    )
    reasoning: Reasoning = reasoning_option()
    system: str = system_option()

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
    """A record's prompt with the answer under `key`, as a record of the chat task."""
    return {**record, "messages": [*record["prompt"], {"role": "assistant", "content": record[key]}]}


def as_chat_task(task: Task) -> Chat:
    """A chat task that trains on the last answer only, with the options of `task` (Preference or Feedback)."""
    return Chat(train_on="last", system=task.system, reasoning=task.reasoning)


def encode_answer(record: dict, key: str, task: Task, tokenizer: ChatTokenizer, max_length: int) -> Encoded:
    """Encode the conversation with the answer under `key` by the chat task; only that answer is labelled."""
    return as_chat_task(task).encode(conversation(record, key), tokenizer, max_length)[0]


def refusal(recipe, algorithm: str) -> Sentence | None:
    """Why `algorithm` cannot be trained with `recipe`; None if it can."""
    if algorithm != "orpo" and not recipe.method.leaves_base_unchanged:
        return Sentence(
            "{algorithm} needs the base model as reference, and {method} cannot be switched off to get it. "
            "Choose ORPO, or another method such as LoRA.",
            algorithm=algorithm.upper(),
            method=Sentence(recipe.method.title),
        )
    if algorithm == "kto" and recipe.training.batch_size < 2:
        return Sentence("KTO compares each prompt with another row's answer, so it needs a batch size of 2 or more.")
    if recipe.training.packing:
        return Sentence(
            "Packing puts several examples into one row, which preference training cannot do. Switch Packing off."
        )
    return None

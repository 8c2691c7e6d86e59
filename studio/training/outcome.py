"""What a run achieved: held-out loss and exact match, of the taught model and of the base beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from studio.chat.answer import answers
from studio.jobs.job import Job
from studio.models.codec import Codec
from studio.recipe import Recipe
from studio.tasks import Question
from studio.training.trainer import StudioTrainer
from studio.words import Sentence


def outcome(job: Job, recipe: Recipe, trainer: StudioTrainer, base: torch.nn.Module | None, codec: Codec, questions: list[Question]) -> dict[str, float]:
    """eval_loss, perplexity and exact_match of the taught model; the same with "base_" in front of the base model.

    `base` is a bare base model, or None where the delta in `trainer.model` can be switched off.
    """
    found: dict[str, float] = {}
    for prefix, who in (("", Sentence("Asking the taught model")), ("base_", Sentence("Asking the base model"))):
        job.doing(who)
        with _who(trainer.model, base, prefix) as model:
            found |= _scores(job, recipe, trainer, model, codec, questions, prefix)
    return found


def _scores(job, recipe, trainer, model, codec, questions, prefix) -> dict[str, float]:
    found = {}
    if trainer.eval_dataset is not None:
        loss = trainer.heldout_loss(model if prefix else None)
        found = {f"{prefix}eval_loss": loss, f"{prefix}perplexity": math.exp(min(loss, 50))}
    asked = questions[: recipe.training.evaluation_rows]
    right, size = 0, recipe.training.batch_size * 2
    for start in range(0, len(asked), size):
        job.raise_if_stopped()
        part = asked[start : start + size]
        said = answers(model, codec, [question.messages for question in part], recipe.training.answer_length, batch_size=size)
        right += sum(answer.strip() == question.expected.strip() for answer, question in zip(said, part, strict=True))
    if asked:
        found[f"{prefix}exact_match"] = right / len(asked)
    return found


@contextmanager
def _who(taught: torch.nn.Module, base: torch.nn.Module | None, prefix: str) -> Iterator[torch.nn.Module]:
    if not prefix:
        yield taught
    elif base is not None:
        yield base
    else:
        with taught.disable_adapter():
            yield taught

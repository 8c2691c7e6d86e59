"""How much of what an adapter does to its base model another adapter does too: the same questions for the base, the
adapter and its replacement, their greedy answers and logits compared.

The questions are validation rows of the adapter's run, where it has kept their predictions, else fixed prompts. Needs a
loaded model; independent of how the replacement was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.chat.generation import chat_stop, generate_continuations, prompt_ids, text_ids, text_stop
from studio.evaluation import predictions
from studio.home import Home
from studio.models.chat_tokenizer import ChatTokenizer

QUESTIONS = 16  # validation rows that are asked
_ANSWER_TOKENS = 48
_POSITIONS = 16  # of each prompt's end, whose logits are compared
_PICTURES = 8
_PROMPTS = (
    "Hello! Who are you?",
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "How much is 12 + 30?",
    "Explain in one sentence why the sky is blue.",
    "Give me three tips for a good night's sleep.",
    "Translate to French: Good morning, my friend.",
    "Once upon a time there was a lighthouse keeper who",
)


@dataclass(frozen=True)
class Questions:
    """What is asked. validation: whether these are validation rows of the adapter's run."""

    texts: tuple[str, ...]
    validation: bool


@dataclass(frozen=True)
class Answers:
    """What a model answers. texts: greedy answers, or the classes found. logits: one tensor [positions, outputs] for
    each question.
    """

    texts: list[str]
    logits: list[torch.Tensor]


def questions(home: Home, run_id: str | None) -> Questions:
    """The questions for an adapter of this run."""
    rows = predictions.read(home.run(run_id))[:QUESTIONS] if run_id else []
    texts = tuple(row.prompt for row in rows if row.prompt.strip())
    return Questions(texts, True) if texts else Questions(_PROMPTS, False)


def answers(
    model: torch.nn.Module,
    tokenizer: ChatTokenizer | None,
    card: dict,
    asked: Questions,
    check_stop: Callable[[], None] = lambda: None,
) -> Answers:
    """The model's answers. tokenizer: None for an image model, which gets fixed pictures instead of the questions."""
    model.eval()
    inputs, found = _inputs(model, tokenizer, card, asked), []
    with torch.no_grad():
        for given in inputs:
            check_stop()
            logits = model(**given).logits[0].float()
            found.append(logits[-_POSITIONS:].clone() if logits.dim() > 1 else logits[None].clone())
    if "labels" in card:
        several = card.get("multi_label") or card.get("sets")
        return Answers([str((one > 0).tolist() if several else one.argmax().item()) for one in found], found)
    check_stop()
    end = text_stop(tokenizer) if card.get("task") == "text" else chat_stop(tokenizer)
    prompts = [given["input_ids"][0].tolist() for given in inputs]
    return Answers(generate_continuations(model, tokenizer, prompts, end, _ANSWER_TOKENS), found)


def _inputs(model, tokenizer: ChatTokenizer | None, card: dict, asked: Questions) -> list[dict[str, torch.Tensor]]:
    """Arguments of the model's forward for each question."""
    if tokenizer is None:
        size, generator = model.config.image_size, torch.Generator().manual_seed(0)
        drawn = 2 * torch.rand(_PICTURES, 1, 3, size, size, generator=generator) - 1
        return [{"pixel_values": picture} for picture in drawn]
    if "labels" in card:
        ids = [tokenizer.encode(text, add_special_tokens=True).ids for text in asked.texts]
    elif card.get("task") == "text":
        ids = [text_ids(tokenizer, text) for text in asked.texts]
    else:
        ids = [prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in asked.texts]
    return [{"input_ids": torch.tensor([one])} for one in ids]


def compare(base: Answers, wanted: Answers, made: Answers, asked: Questions, pictures: bool = False) -> dict:
    """The figures of an adapter's replacement, as JSON.

    {"questions", "validation": whether they are validation rows, "pictures", "same_answers": how many are equal,
    "logit_difference": largest absolute one, "logit_error": ‖made − wanted‖ / ‖wanted − base‖ over all logits}
    """
    difference = [one - other for one, other in zip(made.logits, wanted.logits, strict=True)]
    change = [one - other for one, other in zip(wanted.logits, base.logits, strict=True)]
    lost, whole = (sum(float(one.square().sum()) for one in many) ** 0.5 for many in (difference, change))
    return {
        "questions": len(wanted.texts),
        "validation": asked.validation and not pictures,
        "pictures": pictures,
        "same_answers": sum(one == other for one, other in zip(made.texts, wanted.texts, strict=True)),
        "logit_difference": max(float(one.abs().max()) for one in difference),
        "logit_error": lost / whole if whole else 0.0,
    }


def tokenizer_of(base: Path, adapter: Path, card: dict) -> ChatTokenizer | None:
    """The tokenizer with which the adapter answers; None for an image model."""
    return None if card.get("task") == "image" else ChatTokenizer(base).for_adapter(adapter)

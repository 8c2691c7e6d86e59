"""Log-probabilities of a given answer's tokens, to compare an adapter with its base model.

Knows nothing about which adapters there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from studio.chat import generation
from studio.chat.multi_adapter import MultiAdapterModel
from studio.models.chat_tokenizer import ChatTokenizer
from studio.words import StudioError


@dataclass(frozen=True)
class ScoredToken:
    """A token of an answer with its log-probability (natural logarithm) under the adapter and under the base model."""

    text: str
    logprob: float
    base_logprob: float


def answer_ids(tokenizer: ChatTokenizer, before: str, answer: str, *, chat: bool) -> tuple[list[int], list[int]]:
    """(token ids of `before`, those of `answer` after it). chat: whether `before` is a rendered conversation, which has
    its begin token already.

    Both are encoded together, as the model reads them; a token across the boundary belongs to the answer. Raises
    StudioError where there is no answer.
    """
    encode = (lambda text: tokenizer.encode(text).ids) if chat else (lambda text: generation.text_ids(tokenizer, text))
    alone, ids = encode(before), encode(before + answer)
    same = next((at for at, (a, b) in enumerate(zip(alone, ids, strict=False)) if a != b), min(len(alone), len(ids)))
    if not answer or same == len(ids) or not same:
        raise StudioError("There is no answer to compare.")
    return ids[:same], ids[same:]


def logprobs_of(model: MultiAdapterModel, prompt: list[int], ids: list[int]) -> list[float]:
    """Log-probability of each of `ids` after `prompt` and those before it, under the active adapter."""
    device = next(model.model.parameters()).device
    logits = model.forward_logits(torch.tensor([prompt + ids], device=device))[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(ids, device=device)[:, None])[:, 0].float()
    return (chosen - logits.float().logsumexp(-1)).tolist()


def token_texts(tokenizer: ChatTokenizer, ids: list[int]) -> list[str]:
    """The text that each token adds; "" for a token that ends within a character, whose text comes with the last."""
    texts, shown = [], ""
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:count], keep_special_tokens=True)
        whole = text if not text.endswith("\ufffd") or count == len(ids) else shown
        texts.append(whole[len(shown) :])
        shown = whole
    return texts

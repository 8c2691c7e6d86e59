"""Batched greedy generation: prompts → answers, shared by the Chat tab, the evaluation and the fixed prompts.

The chat engine takes its prompts, stop conditions and generation settings from here too, so a model answers in the
Chat tab as it did at its evaluation. Knows nothing about where a model came from, nor about servers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, StoppingCriteria

from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import disable_4bit_repacking


@dataclass(frozen=True)
class StopCondition:
    """Where an answer ends: at any of the token `ids`, or at `text`, where the end marker is not one token."""

    ids: list[int]
    text: str = ""


def prompt_ids(tokenizer: ChatTokenizer, messages: list[dict], tools: list | None = None) -> list[int]:
    """Token ids of the conversation up to where its answer begins. tools: the tools offered to the model."""
    return tokenizer.encode(tokenizer.render(messages, add_generation_prompt=True, tools=tools)).ids


def text_ids(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Token ids of a text to be continued: encoded as `studio.tasks.text` does, without the end token."""
    ids = tokenizer.encode(text, add_special_tokens=True).ids
    return ids[:-1] if len(ids) > 1 and ids[-1] in tokenizer.eos_ids else ids


def text_stop(tokenizer: ChatTokenizer) -> StopCondition:
    """The stop condition for plain text."""
    return StopCondition(tokenizer.eos_ids)


def chat_stop(tokenizer: ChatTokenizer) -> StopCondition:
    """The stop condition for an answer in a conversation: `tokenizer.eos_ids`, and the end marker of the chat template.

    The latter matters for base models that were fine-tuned with a template: their generation_config names only the
    end of a document, and where ChatML is used with a tokenizer without its tokens, the marker is ordinary text.
    """
    mark = tokenizer.answer_end[0].strip()
    ids = tokenizer.encode(mark).ids if mark else []
    if not ids:
        return StopCondition(tokenizer.eos_ids)
    if len(ids) == 1 or not tokenizer.decode(ids[:1]):  # decode skips special tokens
        return StopCondition(list(dict.fromkeys([*tokenizer.eos_ids, ids[0]])))
    return StopCondition(tokenizer.eos_ids, mark)


def greedy_config(tokenizer: ChatTokenizer, end: StopCondition, max_new_tokens: int) -> GenerationConfig:
    """Greedy decoding, whatever the model's own generation_config says."""
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=max_new_tokens,
        use_cache=True,
        eos_token_id=end.ids or None,
        pad_token_id=tokenizer.pad_id,
    )


def context_length(model: torch.nn.Module) -> int | None:
    """The model's context in tokens, less the adapter's virtual tokens; None if its configuration does not say."""
    config = model.config.get_text_config()
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return found - (getattr(_active_config(model), "num_virtual_tokens", 0) or 0) if found else None


class StopAtText(StoppingCriteria):
    """Ends a row once `text` occurs in what was generated after its first `start` tokens."""

    def __init__(self, tokenizer: ChatTokenizer, text: str, start: int):
        self.tokenizer, self.text, self.start = tokenizer, text, start
        self.window = len(tokenizer.encode(text).ids) + 8

    def __call__(self, input_ids, scores, **kwargs):
        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.window) :].tolist()
        found = [self.text in self.tokenizer.decode(tail, keep_special_tokens=True) for tail in tails]
        return torch.tensor(found, dtype=torch.bool, device=input_ids.device)


def generate_answers(
    model: torch.nn.Module,
    tokenizer: ChatTokenizer,
    conversations: list[list[dict]],
    max_new_tokens: int,
    batch_size: int = 16,
    tools: list[list | None] | None = None,
) -> list[str]:
    """The model's greedy answer to each conversation (messages up to the question), in order; "" where the context is
    full.

    model: a transformers or PEFT model; its train/eval modes are restored. tools: the tools offered in each
    conversation. The answers are not stripped of whitespace.
    """
    prompts = [
        prompt_ids(tokenizer, messages, may_call)
        for messages, may_call in zip(conversations, tools or [None] * len(conversations), strict=True)
    ]
    return generate_continuations(model, tokenizer, prompts, chat_stop(tokenizer), max_new_tokens, batch_size)


def generate_continuations(
    model: torch.nn.Module,
    tokenizer: ChatTokenizer,
    prompts: list[list[int]],
    end: StopCondition,
    max_new_tokens: int,
    batch_size: int = 16,
) -> list[str]:
    """The greedy continuation of each prompt (token ids), in order, as text."""
    found = [""] * len(prompts)
    context = context_length(model)
    with eval_mode(model):
        for batch in _batches(
            prompts,
            batch_size,
            equal_lengths=_virtual_token_count(model) > 0,
            max_prompt=(context or sys.maxsize) - max_new_tokens,
        ):
            budget = max_new_tokens if context is None else min(max_new_tokens, context - len(prompts[batch[0]]))
            if budget < 1:
                continue
            generated = _generate(model, tokenizer, [prompts[at] for at in batch], end, budget)
            for at, ids in zip(batch, generated, strict=True):
                found[at] = decode_answer(tokenizer, ids, end)
    return found


def decode_answer(tokenizer: ChatTokenizer, ids: list[int], end: StopCondition) -> str:
    """Generated `ids` as text, up to the stop condition."""
    kept = next((ids[:at] for at, token in enumerate(ids) if token in end.ids), ids)
    if tokenizer.read_channels:
        return tokenizer.read_channels(tokenizer.decode(kept, keep_special_tokens=True))
    text = tokenizer.decode(kept)
    return text.partition(end.text)[0] if end.text else text


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards each module is in the mode that it was in."""
    disable_4bit_repacking(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _generate(
    model, tokenizer: ChatTokenizer, prompts: list[list[int]], end: StopCondition, budget: int
) -> list[list[int]]:
    """New tokens of each row of one left-padded batch; generate makes position ids from the attention mask."""
    device = next(model.parameters()).device
    max_length = max(map(len, prompts))
    rows = [[tokenizer.pad_id] * (max_length - len(ids)) + ids for ids in prompts]
    mask = [[0] * (max_length - len(ids)) + [1] * len(ids) for ids in prompts]
    generated = model.generate(
        input_ids=torch.tensor(rows, device=device),
        attention_mask=torch.tensor(mask, device=device),
        generation_config=greedy_config(tokenizer, end, budget),
        stopping_criteria=[StopAtText(tokenizer, end.text, max_length)] if end.text else None,
    )
    return generated[:, max_length:].tolist()


def _batches(prompts: list[list[int]], size: int, *, equal_lengths: bool, max_prompt: int) -> Iterator[list[int]]:
    """Indices of prompts of similar length, at most `size` at a time. Prompts longer than `max_prompt` are batched only
    with others of the same length, because they leave fewer tokens for the answer.

    With `equal_lengths` no row needs padding: prompt-learning methods put their virtual tokens before the padding
    and drop position ids, so a padded row would get wrong relative positions.
    """
    order = sorted((at for at, ids in enumerate(prompts) if ids), key=lambda at: -len(prompts[at]))
    batch: list[int] = []
    for at in order:
        if batch:
            first = len(prompts[batch[0]])
            apart = len(prompts[at]) != first and (equal_lengths or first > max_prompt)
            if len(batch) == size or apart:
                yield batch
                batch = []
        batch.append(at)
    if batch:
        yield batch


def _virtual_token_count(model: torch.nn.Module) -> int:
    """How many virtual tokens the active adapter prepends to the input; 0 for most methods."""
    config = _active_config(model)
    return config.num_virtual_tokens if config is not None and config.is_prompt_learning else 0


def _active_config(model: torch.nn.Module):
    """peft's config of the active adapter; None where there is none."""
    configs = getattr(model, "peft_config", None)
    return (
        configs.get(model.active_adapter)
        if configs and isinstance(getattr(model, "active_adapter", None), str)
        else None
    )

"""Locate the answers of a conversation in its rendered text, under any chat template, and label their tokens.

The prompt of an answer is rendered as at inference: all messages before it, with the generation prompt. The answer is
what the template writes after that. Answers whose prompts are prefixes of one text are labelled in one example; where a
template renders earlier turns differently once more messages follow (Qwen3 drops their reasoning), the answer gets an
example of its own. So the tokens before an answer are always exactly the prompt that Chat sends.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

from studio.data.reasoning import CLOSE, OPEN, join_reasoning, split_reasoning
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer, Tokens

_OPENED = re.compile(rf"{OPEN}\s*\Z")
_CLOSED = re.compile(rf"(?:{OPEN}\s*{CLOSE}|<\|channel>thought\s*<channel\|>)\s*\Z")
# Placeholder for an answer, or its reasoning, to find where a template renders it.
_PLACEHOLDER = "\u2042another\u2042"
_AFTER_REASONING = re.compile(rf"\s*(?:(?:{CLOSE}|<channel\|>)\s*)?")

Span = tuple[int, int, float]
"""(start, end, loss weight) of a character range in a text."""


class AnswerNotFound(ChatTemplateError):
    """An answer cannot be located in the text rendered by the chat template."""

    kind = "unfound"


@dataclass(frozen=True)
class Answer:
    """One answer of a conversation.

    prompt: the text given to the model. text: the text to be generated, end marker included. trailing: what the
    template writes after that at the end of a conversation. spans: the labelled parts of `text`, in order. turn: the
    assistant message in the record.
    """

    prompt: str
    text: str
    trailing: str
    spans: list[Span]
    turn: dict

    @property
    def is_complete(self) -> bool:
        """Whether the chat template renders the whole answer: its reasoning, content and names of tool calls."""
        reasoning, words = split_reasoning(self.turn["content"])
        names = [call["function"]["name"] for call in self.turn.get("tool_calls", [])]
        return all(part in self.text for part in (reasoning, words.strip(), *names))

    def is_prefix_of(self, text: str) -> bool:
        """Whether `text` begins with the prompt and the answer."""
        return text.startswith(self.prompt) and text.startswith(self.text, len(self.prompt))


def find_answer(
    tokenizer: ChatTokenizer, messages: list[dict], at: int, tools: list | None, *, train_on_reasoning: bool = True
) -> Answer:
    """Find the answer in message `at` of `messages`. train_on_reasoning: whether its reasoning is labelled too.

    Raises ChatTemplateError if the chat template rejects the conversation, AnswerNotFound if the answer is not in the
    rendered text.
    """
    turn = messages[at]
    prompt = tokenizer.render(messages[:at], add_generation_prompt=True, tools=tools)
    whole = tokenizer.render(messages[: at + 1], tools=tools)
    body = _body(tokenizer, messages, at, tools, prompt, whole)
    text = body[: _end(tokenizer, body)]
    trailing = body[len(text) :]
    reasoning = split_reasoning(turn["content"])[0]
    opening, closing = tokenizer.reasoning_marks
    opened = prompt.rstrip().endswith(opening.rstrip())
    if (
        reasoning
        and not _CLOSED.search(prompt)
        and not (opened and text.startswith(reasoning))
        and not _writes_reasoning(tokenizer, messages, at, tools)
    ):
        text = f"{'' if opened else opening}{reasoning}{closing}{text.removeprefix(CLOSE).lstrip()}"
    if tokenizer.append_eos and not tokenizer.answer_end[0] and not text.endswith(tokenizer.eos_text):
        text, trailing = text + tokenizer.eos_text, ""
    return Answer(prompt, text, trailing, _spans(turn, text, train_on_reasoning), turn)


def _body(tokenizer: ChatTokenizer, messages: list[dict], at: int, tools: list | None, prompt: str, whole: str) -> str:
    """The part of the rendered text `whole` with the answer, in a form that can be appended to `prompt`."""
    if whole.startswith(prompt):
        return whole[len(prompt) :]
    opened, closed = _OPENED.search(prompt), _CLOSED.search(prompt)
    # The prompt opens a reasoning block that is not rendered in the whole conversation (DeepSeek-R1).
    if opened and whole.startswith(prompt[: opened.start()]):
        return f"{split_reasoning(messages[at]['content'])[0]}\n{CLOSE}\n\n{whole[opened.start() :].lstrip()}"
    if closed and whole.startswith(prompt[: closed.start()]):
        return whole[closed.start() :].lstrip()
    if whole.startswith(prompt.rstrip()):
        return whole[len(prompt.rstrip()) :].lstrip()
    start = _start(tokenizer, messages, at, tools, prompt, whole)
    if start is None:
        raise AnswerNotFound(
            "The chat template renders an answer differently from its own prompt, so the answer cannot be found. "
            "Choose another template under What the model sees."
        )
    return whole[start:]


def _end(tokenizer: ChatTokenizer, body: str) -> int:
    """End index of the answer at the start of `body`, end marker included; the rest is rendered only at the end of a
    conversation.
    """
    mark, trailing = tokenizer.answer_end
    if not mark or body.endswith(mark + trailing):
        return len(body) - (len(trailing) if body.endswith(trailing) else 0)
    ends = [place + len(text) for text in tokenizer.eos_texts if (place := body.rfind(text)) >= 0]
    # Tool calls may have another end marker than text, and templates may render differently with tools.
    return max(ends, default=len(body.rstrip()))


def _start(
    tokenizer: ChatTokenizer, messages: list[dict], at: int, tools: list | None, prompt: str, whole: str
) -> int | None:
    """Start index of the answer in `whole`, where earlier turns are rendered differently than in `prompt` (Mistral's
    templates write the system message only before the last question); None if it cannot be found.

    It is where `whole` begins to differ from the text with another answer to the same question, right after the end of
    the prompt.
    """
    with contextlib.suppress(ChatTemplateError):
        other = tokenizer.render([*messages[:at], {"role": "assistant", "content": _PLACEHOLDER}], tools=tools)
        differs = len(os.path.commonprefix([other, whole]))
        for length in (24, 12, 6):  # characters to compare; fewer suit a short question right after the system message
            for start in range(differs, max(0, differs - 24), -1):
                if whole[:start].endswith(prompt[-length:]):
                    return start
    reasoning, answer = split_reasoning(messages[at]["content"])
    thought = reasoning.join(tokenizer.reasoning_marks).strip() if reasoning else ""
    for words in (messages[at]["content"].strip(), answer.strip()):
        if words and (start := whole.rfind(words)) >= 0:
            before = whole[:start].rstrip()
            return len(before.removesuffix(thought)) if thought and before.endswith(thought) else start
    return None


def _writes_reasoning(tokenizer: ChatTokenizer, messages: list[dict], at: int, tools: list | None) -> bool:
    """Whether the chat template renders the reasoning of message `at`."""
    words = split_reasoning(messages[at]["content"])[1]
    return _PLACEHOLDER in tokenizer.render(
        [*messages[:at], {**messages[at], "content": join_reasoning(_PLACEHOLDER, words)}], tools=tools
    )


def _spans(turn: dict, text: str, train_on_reasoning: bool) -> list[Span]:
    """The labelled spans of `text`, with the loss weights of the message `turn`."""
    weight = float(turn.get("weight", 1))
    reasoning, words = split_reasoning(turn["content"])
    core = words if words and words in text else words.strip()
    after = text.find(reasoning) + len(reasoning) if reasoning and reasoning in text else 0
    start = 0
    if after and not train_on_reasoning:
        found = text.find(core, after) if core else -1
        start = found if found >= 0 else _AFTER_REASONING.match(text, after).end()
    edges = {start: weight}
    for first, last, own in turn.get("span_weights", []):
        for piece, begins in (
            (reasoning, text.find(reasoning) if reasoning else -1),
            (core, text.find(core, after) if core else -1),
        ):
            offset = turn["content"].rfind(piece) if piece and begins >= 0 else -1
            low, high = max(first, offset), min(last, offset + len(piece))
            if offset >= 0 and low < high and begins + high - offset > start:
                edges = _with_weight(edges, max(start, begins + low - offset), begins + high - offset, weight * own)
    starts = sorted(edges)
    return [
        (at, end, edges[at])
        for at, end in zip(starts, [*starts[1:], len(text)], strict=True)
        if edges[at] > 0 and end > at
    ]


def _with_weight(edges: dict[int, float], start: int, end: int, weight: float) -> dict[int, float]:
    """`edges` (character index → weight from there on) with the weight between `start` and `end` set to `weight`."""
    before = edges[max(at for at in edges if at <= end)]
    kept = {at: own for at, own in edges.items() if at < start or at > end}
    return {**kept, start: weight, end: before}


@dataclass(frozen=True)
class LabelledText:
    """A rendered text, its token ids, and the loss weight of each token (0: not labelled)."""

    text: str
    ids: list[int]
    weights: list[float]


def merge_answers(tokenizer: ChatTokenizer, answers: list[Answer]) -> list[LabelledText]:
    """Merge `answers` (in the order of their turns) into as few texts as possible, in which each answer is labelled
    once and preceded by exactly the prompt that Chat sends.
    """
    waiting, found = list(answers), []
    while waiting:
        last = waiting.pop()
        text = last.prompt + last.text + last.trailing
        tokens = tokenizer.encode(text)
        if _begins_with_prompt_tokens(tokenizer, tokens, last.prompt):
            inside = [
                answer
                for answer in waiting
                if answer.is_prefix_of(text) and _on_token_boundaries(tokenizer, tokens, answer)
            ]
            waiting = [answer for answer in waiting if answer not in inside]
            spans = [
                (len(answer.prompt) + start, len(answer.prompt) + end, weight)
                for answer in (*inside, last)
                for start, end, weight in answer.spans
            ]
            found.append(LabelledText(text, tokens.ids, token_weights(tokens, spans)))
        else:  # a token would span the end of the prompt and the start of the answer
            prompt, answer_tokens = tokenizer.encode(last.prompt), tokenizer.encode(last.text + last.trailing)
            found.append(
                LabelledText(
                    text,
                    prompt.ids + answer_tokens.ids,
                    [0.0] * len(prompt.ids) + token_weights(answer_tokens, last.spans),
                )
            )
    return found[::-1]


def _begins_with_prompt_tokens(tokenizer: ChatTokenizer, tokens: Tokens, prompt: str) -> bool:
    """Whether `tokens`, of a text that starts with `prompt`, start with the token ids of `prompt` encoded alone."""
    own = tokenizer.encode(prompt).ids
    return tokens.ids[: len(own)] == own and (len(own) == len(tokens.ids) or tokens.offsets[len(own)][0] >= len(prompt))


def _on_token_boundaries(tokenizer: ChatTokenizer, tokens: Tokens, answer: Answer) -> bool:
    """Whether no token crosses the start or end of the answer."""
    end = len(answer.prompt) + len(answer.text)
    return _begins_with_prompt_tokens(tokenizer, tokens, answer.prompt) and not any(
        start < end < stop for start, stop in tokens.offsets
    )


def token_weights(tokens: Tokens, spans: list[Span]) -> list[float]:
    """The loss weight of each token: the weight of most of its characters, which is 0 outside of `spans` (sorted and
    disjoint).
    """
    weights, at = [], 0
    for start, end in tokens.offsets:
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        held, touched = {}, at
        while touched < len(spans) and end > spans[touched][0]:
            first, last, weight = spans[touched]
            held[weight] = held.get(weight, 0) + min(end, last) - max(start, first)
            touched += 1
        held[0.0] = end - start - sum(held.values())
        weights.append(max(held, key=lambda weight: (held[weight], weight)) if end > start else 0.0)
    return weights

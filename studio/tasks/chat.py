"""Chat: supervised fine-tuning on conversations, with the loss on the assistant's messages."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import ClassVar, Literal

from studio.data.reasoning import split_reasoning
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.options import option
from studio.tasks.answers import Answer, find_answer, merge_answers
from studio.tasks.base import IGNORED, Encoded, Question, Task

Reasoning = Literal["train", "answer", "drop"]


def reasoning_option():
    """The option for the use of reasoning before an answer, shared by all tasks that train on answers."""
    labels = {
        "train": "Train on reasoning and answer",
        "answer": "Train on the answer only",
        "drop": "Leave reasoning out",
    }
    return option(
        "train", "Reasoning", "How reasoning before an answer is used, where the data has any.", labels=labels
    )


def system_option():
    """The option for a default system message, shared by all tasks over conversations."""
    return option(
        "",
        "System prompt",
        "Put before every conversation that has no system message of its own. Empty: none.",
        max_length=4000,
    )


class Chat(Task):
    """Answers in a conversation."""

    title: ClassVar[str] = "Chat"
    verb: ClassVar[str] = "chat"
    help: ClassVar[str] = "Answer questions and follow instructions, from examples of conversations."
    order: ClassVar[int] = 1
    record_kind: ClassVar[str] = "messages"
    uses_chat_template: ClassVar[bool] = True

    name: Literal["chat"] = option("chat", "Task", "", hidden=True)
    train_on: Literal["answers", "last", "questions", "everything"] = option(
        "answers",
        "Train on",
        "Which messages the loss is computed on. Training on the questions as well rarely helps.",
        labels={
            "answers": "All answers",
            "last": "Only the last answer",
            "questions": "Only what is not an answer",
            "everything": "Questions and answers",
        },
    )
    reasoning: Reasoning = reasoning_option()
    system: str = system_option()

    def messages(self, record: dict) -> list[dict]:
        """The record's messages with the task's system prompt, and without reasoning if the task drops it."""
        found = record["messages"]
        if self.reasoning == "drop":
            found = [_without_reasoning(turn) if turn["role"] == "assistant" else turn for turn in found]
        if self.system and (not found or found[0]["role"] != "system"):
            return [{"role": "system", "content": self.system}, *found]
        return found

    def encode(self, record: dict, tokenizer: ChatTokenizer, max_length: int) -> list[Encoded]:
        """Encode as one example, or as several if the chat template renders earlier answers differently once more
        messages follow (see `answers.py`).

        Raises ChatTemplateError if the template rejects the conversation, AnswerNotFound if an answer cannot be located
        in the rendered text.
        """
        if self.train_on in ("answers", "last"):
            texts = [(text.ids, text.weights) for text in merge_answers(tokenizer, self.answers(record, tokenizer))]
            if not texts:  # no answer is labelled
                ids = tokenizer.encode(tokenizer.render(self.messages(record), tools=record.get("tools"))).ids
                texts = [(ids, [0.0] * len(ids))]
        else:
            texts = [self._labels_outside_answers(record, tokenizer)]
        return [_truncated(ids, weights, max_length) for ids, weights in texts]

    def answers(self, record: dict, tokenizer: ChatTokenizer) -> list[Answer]:
        """The answers that have labelled tokens, in order."""
        messages = self.messages(record)
        turns = [at for at, turn in enumerate(messages) if turn["role"] == "assistant"]
        if self.train_on == "last":
            turns = turns[-1:]
        find = partial(
            find_answer, tokenizer, messages, tools=record.get("tools"), train_on_reasoning=self.reasoning != "answer"
        )
        return [answer for at in turns if _has_weight(messages[at]) and (answer := find(at)).spans]

    def _labels_outside_answers(self, record: dict, tokenizer: ChatTokenizer) -> tuple[list[int], list[float]]:
        """(token ids, loss weights) of the whole conversation, with all tokens labelled or all but the answers."""
        messages = self.messages(record)
        text = tokenizer.render(messages, tools=record.get("tools"))
        tokens, read, at = tokenizer.encode(text), [], 0
        for turn in messages if self.train_on == "questions" else ():
            words = split_reasoning(turn["content"])[1].strip()
            found = text.find(words, at) if words else -1
            if found < 0:
                continue
            at = found + len(words)
            if turn["role"] == "assistant":
                at += len(tokenizer.answer_end[0]) * text.startswith(tokenizer.answer_end[0], at)
                read.append((found, at))
        weights = [
            float(not any(start < last and end > first for first, last in read)) for start, end in tokens.offsets
        ]
        return tokens.ids, weights

    def drops_content(self, record: dict, tokenizer: ChatTokenizer) -> bool:
        messages, tools = self.messages(record), record.get("tools")
        if any(not answer.is_complete for answer in self.answers(record, tokenizer)):
            return True
        asked = messages[
            : next((at for at in range(len(messages) - 1, 0, -1) if messages[at]["role"] == "assistant"), len(messages))
        ]
        prompt = tokenizer.render(asked, add_generation_prompt=True, tools=tools)
        if any(turn["role"] == "system" and turn["content"].strip() not in prompt for turn in asked):
            return True
        bare = [{key: value for key, value in turn.items() if key != "tool_calls"} for turn in asked]
        for fewer, offered in ((asked, None), (bare, tools)):
            if (fewer, offered) != (asked, tools):
                # A template that rejects the conversation without the tools or calls does use them.
                with contextlib.suppress(ChatTemplateError):
                    if tokenizer.render(fewer, add_generation_prompt=True, tools=offered) == prompt:
                        return True
        return False

    def example_lengths(self, rows: list[list[int]], max_length: int) -> list[int]:
        return [length for lengths in rows for length in lengths]

    def question(self, record: dict) -> Question | None:
        messages = self.messages(record)
        if messages and messages[-1]["role"] == "assistant" and len(messages) > 1 and _has_weight(messages[-1]):
            return Question(messages[:-1], split_reasoning(messages[-1]["content"])[1], record.get("tools"))
        return None


def _without_reasoning(turn: dict) -> dict:
    """The message with its reasoning removed and its span weights shifted accordingly."""
    answer = split_reasoning(turn["content"])[1]
    before = len(turn["content"]) - len(answer)
    if not before or not turn.get("span_weights"):
        return {**turn, "content": answer}
    spans = [
        [max(0, start - before), end - before, weight] for start, end, weight in turn["span_weights"] if end > before
    ]
    return {**turn, "content": answer, "span_weights": spans}


def _has_weight(turn: dict) -> bool:
    """Whether the loss weight of the message is above 0."""
    return turn.get("weight", 1) > 0


def _truncated(ids: list[int], weights: list[float], max_length: int) -> Encoded:
    """Truncate to `max_length` tokens and derive the labels from the weights."""
    cut, kept = max(0, len(ids) - max_length), weights[:max_length]
    labels = [token if weight else IGNORED for token, weight in zip(ids[:max_length], kept, strict=True)]
    plain = all(weight in (0.0, 1.0) for weight in kept)
    return Encoded(ids[:max_length], labels, cut, weights=None if plain else kept)

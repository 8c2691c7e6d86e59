"""Answers in the form of OpenAI's API: one JSON object, or the chunks of a stream.

Knows nothing about HTTP and models. Source: OpenAI API reference, Chat Completions and Completions.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from studio.chat.answer_parts import AnswerParts, whole_message
from studio.chat.batching import TokenLogprob
from studio.chat.engine import Outcome
from studio.chat.openai_requests import CompletionRequest


@dataclass(frozen=True)
class Frame:
    """What each object of one response has in common."""

    chat: bool
    model: str
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def __call__(self, *, chunk: bool = False, **more) -> dict:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model, **more}


@dataclass
class _Choice:
    parts: AnswerParts
    deltas: list[dict] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    sent_logprobs: int = 0
    finish: str | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0
    first_token_seconds: float = 0.0
    seconds: float = 0.0


class Writer:
    """Collects the events of a request's choices, and writes what comes of them."""

    def __init__(self, asked: CompletionRequest, frame: Frame, parts: list[AnswerParts]):
        self.asked, self.frame = asked, frame
        self.choices = [_Choice(own) for own in parts]
        self._begun: set[int] = set()

    def take(self, at: int, event: str | TokenLogprob | Outcome) -> list[dict]:
        """The chunks that a stream sends for this event of choice `at`."""
        choice = self.choices[at]
        if isinstance(event, TokenLogprob):
            choice.logprobs.append(event)
            return []
        if isinstance(event, str):
            deltas = choice.parts.feed(event) if self.asked.chat else [{"text": event}]
        else:
            deltas = choice.parts.finish() if self.asked.chat else []
            choice.finish = "tool_calls" if choice.parts.called else event.finish
            choice.prompt_tokens, choice.new_tokens = event.prompt_tokens, event.new_tokens
            choice.first_token_seconds, choice.seconds = event.first_token_seconds, event.seconds
        choice.deltas += deltas
        chunks = [self._chunk(at, delta) for delta in self._opening(at) + deltas]
        if choice.finish:
            chunks.append(self._chunk(at, {} if self.asked.chat else {"text": ""}, choice.finish))
        return chunks

    def _opening(self, at: int) -> list[dict]:
        if at in self._begun:
            return []
        self._begun.add(at)
        if self.asked.chat:
            return [{"role": "assistant", "content": ""}]
        return [{"text": self.asked.prompts[at // self.asked.n]}] if self.asked.echo else []

    def _chunk(self, at: int, delta: dict, finish: str | None = None) -> dict:
        choice = self.choices[at]
        made = {"delta": delta} if self.asked.chat else delta
        new, choice.sent_logprobs = choice.logprobs[choice.sent_logprobs :], len(choice.logprobs)
        logprobs = self._logprobs(new) if self.asked.top_logprobs is not None and new else None
        entry = {"index": at, **made, "logprobs": logprobs, "finish_reason": finish}
        return self.frame(chunk=True, choices=[entry])

    def usage_chunk(self) -> list[dict]:
        """The last chunk of a stream whose request asked for the usage."""
        if not self.asked.include_usage:
            return []
        return [self.frame(chunk=True, choices=[], usage=self._usage(), timings=self._timings())]

    def whole(self) -> dict:
        """The response as one object."""
        choices = [self._whole_choice(at) for at in range(len(self.choices))]
        return self.frame(choices=choices, usage=self._usage(), timings=self._timings())

    def _whole_choice(self, at: int) -> dict:
        choice = self.choices[at]
        if self.asked.chat:
            made = {"message": whole_message(choice.deltas)}
        else:
            echo = self.asked.prompts[at // self.asked.n] if self.asked.echo else ""
            made = {"text": echo + "".join(delta["text"] for delta in choice.deltas)}
        logprobs = self._logprobs(choice.logprobs) if self.asked.top_logprobs is not None else None
        return {"index": at, **made, "logprobs": logprobs, "finish_reason": choice.finish}

    def _usage(self) -> dict:
        # A prompt counts once, however many choices it gets.
        prompt = sum(choice.prompt_tokens for choice in self.choices[:: self.asked.n])
        new = sum(choice.new_tokens for choice in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    def _timings(self) -> dict:
        """Measured times, under the names that llama.cpp's server uses: prompt_ms until the first token, predicted_ms
        from there to the end; of several choices, of the last to end.
        """
        last = max(self.choices, key=lambda choice: choice.seconds)
        new, seconds = sum(choice.new_tokens for choice in self.choices), last.seconds - last.first_token_seconds
        return {
            "prompt_n": last.prompt_tokens,
            "prompt_ms": round(last.first_token_seconds * 1000, 3),
            "predicted_n": new,
            "predicted_ms": round(seconds * 1000, 3),
            "predicted_per_second": round(max(0, new - len(self.choices)) / seconds, 3) if seconds > 0 else 0.0,
        }

    def _logprobs(self, tokens: list[TokenLogprob]) -> dict:
        if self.asked.chat:
            return {
                "content": [_entry(t.text, t.logprob) | {"top_logprobs": [_entry(*x) for x in t.top]} for t in tokens]
            }
        offsets, at = [], 0
        for token in tokens:
            offsets.append(at)
            at += len(token.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(token.top) for token in tokens] if self.asked.top_logprobs else None,
            "text_offset": offsets,
        }


def _entry(text: str, logprob: float) -> dict:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

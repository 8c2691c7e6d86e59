"""Rows of one batch: each with its own prompt, sampling, end and reader, decoded together by one `model.generate`.

Random numbers belong to the row (`torch.Generator`), so an answer with a seed is the same alone and in any batch.
Knows nothing about adapters and HTTP.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers.generation import logits_process as warpers

from studio.chat.generation import StopCondition
from studio.chat.sampling import Sampling
from studio.chat.stream_decoder import StreamDecoder
from studio.models.chat_tokenizer import ChatTokenizer

MAX_ROWS = 16
_MAX_TOKENS_TO_MERGE = 8192
"""Tokens of a batch, padding included, up to which it begins anew for a row that joins; where it would be longer, the
row is decoded in another batch."""


@dataclass(frozen=True)
class TokenLogprob:
    """A generated token with its log-probability in the model's own distribution (before temperature and penalties),
    and the most likely tokens at its place, as (text, log-probability).
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(eq=False)
class Row:
    """One answer. prompt: token ids. budget: max new tokens. top_logprobs: how many alternatives are reported with each
    token's log-probability, None for no log-probabilities. generated: token ids so far. finish: how the answer ended
    ("stop", "length", "cancelled"), "" while it is generated. choose: see `chooser`. scale: the adapter's strength.
    first_token: `time.monotonic()` of the first token.
    """

    adapter: str | None
    tokenizer: ChatTokenizer
    prompt: list[int]
    end: StopCondition
    sampling: Sampling
    budget: int
    decoder: StreamDecoder
    emit: Callable[[str], None]
    cancelled: Callable[[], bool]
    scale: float = 1.0
    top_logprobs: int | None = None
    on_logprob: Callable[[TokenLogprob], None] = lambda token: None
    first_token: float | None = None
    generated: list[int] = field(default_factory=list)
    finish: str = ""
    choose: Callable[[torch.Tensor, torch.Tensor], int] | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def add(self, token: int) -> None:
        """Take the next token: emit its text, and notice the end."""
        self.first_token = self.first_token or time.monotonic()
        self.generated.append(token)
        if piece := self.decoder.add(token):
            self.emit(piece)
        if self.decoder.finished:
            self.finish = "stop"
        elif self.cancelled():
            self.finish = "cancelled"
        elif self.decoder.count >= self.budget:
            self.finish = "length"
        if self.finish:
            self.emit(self.decoder.flush())


class Runner:
    """Rows that are decoded together, and rows that wait to join them.

    A row joins between two tokens: the batch then begins anew with what its rows hold so far as their prompts. merges:
    whether rows may join at all.
    """

    def __init__(self, first: Row, merges: bool):
        self._guard = threading.Lock()
        self._waiting, self._rows, self._ended = [first], [], False
        self.merges = merges

    def join(self, row: Row) -> bool:
        """Let `row` wait to join. False where it cannot: the batch is full, has ended, or is too long to begin anew."""
        with self._guard:
            rows = [other for other in self._rows if not other.finish] + [*self._waiting, row]
            tokens = len(rows) * max(len(other.prompt) + len(other.generated) for other in rows)
            if self._ended or not self.merges or len(rows) > MAX_ROWS or tokens > _MAX_TOKENS_TO_MERGE:
                return False
            self._waiting.append(row)
            return True

    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def next_rows(self) -> list[Row]:
        """The rows to decode now, those of one adapter and strength side by side; none where all have ended, and then
        for good.
        """
        with self._guard:
            rows = [row for row in self._rows if not row.finish] + self._waiting
            self._rows, self._waiting, self._ended = (
                sorted(rows, key=lambda row: (row.adapter or "", row.scale)),
                [],
                not rows,
            )
            return self._rows

    def fail(self, error: Exception) -> None:
        """End all rows with `error`."""
        with self._guard:
            self._ended = True
            for row in self._rows + self._waiting:
                if not row.done.is_set():
                    row.error = error
                    row.done.set()


class RowSampler(LogitsProcessor):
    """Chooses the next token of each row by its own sampling options; greedy rows without penalties pass unchanged.

    For the other rows all scores but the chosen token's become −∞, so that generate's argmax takes it. start: columns
    of left padding of each row.
    """

    def __init__(self, rows: list[Row], start: list[int]):
        self.rows, self.start = rows, start

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not any(row.choose for row in self.rows):
            return scores
        chosen = scores.clone()
        for at, row in enumerate(self.rows):
            if row.choose and not row.finish:
                token = row.choose(input_ids[at : at + 1, self.start[at] :], scores[at : at + 1])
                if row.top_logprobs is not None:
                    row.on_logprob(_logprob(row, scores[at], token))
                chosen[at] = -torch.inf
                chosen[at, token] = 0
        return chosen


def chooser(row: Row, device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], int] | None:
    """(token ids so far, scores), both of one row → the next token; None where that is the most likely one, and no
    log-probability is asked for.
    """
    options, process = row.sampling, LogitsProcessorList()
    if options.repetition_penalty != 1:
        process.append(warpers.RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
    if options.presence_penalty or options.frequency_penalty:
        process.append(_OpenAIPenalties(len(row.prompt), options.presence_penalty, options.frequency_penalty))
    if not options.temperature:
        if not process and row.top_logprobs is None:
            return None
        return lambda ids, scores: int(process(ids, scores).argmax())
    if options.temperature != 1:
        process.append(warpers.TemperatureLogitsWarper(options.temperature))
    if options.top_k:
        process.append(warpers.TopKLogitsWarper(options.top_k))
    if options.top_p < 1:
        process.append(warpers.TopPLogitsWarper(options.top_p))
    if options.min_p:
        process.append(warpers.MinPLogitsWarper(options.min_p))
    generator = torch.Generator(device)
    generator.manual_seed(secrets.randbits(31) if options.seed is None else options.seed)
    return lambda ids, scores: int(
        torch.multinomial(process(ids, scores).softmax(-1)[0], 1, generator=generator).item()
    )


class _OpenAIPenalties(LogitsProcessor):
    """Presence and frequency penalties as OpenAI's API defines them, over the generated tokens of one row:
    score − presence·[count > 0] − frequency·count.
    """

    def __init__(self, prompt_length: int, presence: float, frequency: float):
        self.prompt_length, self.presence, self.frequency = prompt_length, presence, frequency

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        counts = torch.bincount(input_ids[0, self.prompt_length :], minlength=scores.shape[-1])
        return scores - self.presence * (counts > 0) - self.frequency * counts


def _logprob(row: Row, scores: torch.Tensor, token: int) -> TokenLogprob:
    logprobs = scores.float().log_softmax(-1)
    text = lambda id: row.tokenizer.decode([id], keep_special_tokens=True)  # noqa: E731
    top = logprobs.topk(row.top_logprobs) if row.top_logprobs else None
    best = tuple((text(id), value) for value, id in zip(*map(torch.Tensor.tolist, top), strict=True)) if top else ()
    return TokenLogprob(text(token), float(logprobs[token]), best)


class RowStreamer(StoppingCriteria):
    """Called by generate after each token: gives it to its row and says which rows have ended; all, where `interrupt`
    asks for an end. between_tokens is called afterwards while any row goes on.
    """

    def __init__(self, rows: list[Row], between_tokens: Callable[[], None], interrupt: Callable[[], bool]):
        self.rows, self.between_tokens, self.interrupt = rows, between_tokens, interrupt

    def __call__(self, input_ids: torch.LongTensor, scores, **kwargs) -> torch.BoolTensor:
        for row, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            if not row.finish:
                row.add(token)
                if row.finish:
                    row.done.set()
        ended = [bool(row.finish) for row in self.rows]
        if not all(ended):
            self.between_tokens()
            ended = [True] * len(ended) if self.interrupt() else ended
        return torch.tensor(ended, device=input_ids.device)


def decode_rows(
    model: torch.nn.Module, rows: list[Row], between_tokens: Callable[[], None], interrupt: Callable[[], bool]
) -> None:
    """Generate the answers of `rows` together, left-padded; each row's text goes to its `emit`. Returns before they
    have ended where `interrupt` says so.
    """
    device = next(model.parameters()).device
    prompts = [row.prompt + row.generated for row in rows]
    length = max(map(len, prompts))
    start = [length - len(prompt) for prompt in prompts]
    pad = rows[0].tokenizer.pad_id
    ids = [[pad] * gap + prompt for gap, prompt in zip(start, prompts, strict=True)]
    mask = [[0] * gap + [1] * len(prompt) for gap, prompt in zip(start, prompts, strict=True)]
    model.generate(
        input_ids=torch.tensor(ids, device=device),
        attention_mask=torch.tensor(mask, device=device),
        # Rows end by RowStreamer; the end token that generate needs to pad ended rows is one that no vocabulary holds.
        generation_config=GenerationConfig(
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            max_new_tokens=max(row.budget - row.decoder.count for row in rows),
            use_cache=True,
            eos_token_id=[model.config.get_text_config().vocab_size],
            pad_token_id=pad,
        ),
        logits_processor=LogitsProcessorList([RowSampler(rows, start)]),
        stopping_criteria=[RowStreamer(rows, between_tokens, interrupt)],
    )

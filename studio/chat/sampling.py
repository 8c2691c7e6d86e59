"""Sampling options of the Chat tab and of the server's requests. No torch here."""

from __future__ import annotations

from studio.options import Options, option


class Sampling(Options):
    """Sampling parameters of an answer. The defaults decode greedily, as the evaluations of a run do."""

    temperature: float = option(
        0.0,
        "Temperature",
        "0 always takes the most likely token (greedy decoding); around 0.7 answers vary, above 1 they become erratic.",
        ge=0,
        le=5,
        slider=True,
    )
    max_tokens: int = option(
        256,
        "Answer length",
        "Max new tokens: the answer ends after this many at the latest.",
        unit="tokens",
        ge=1,
        le=32_768,
    )
    top_p: float = option(
        1.0,
        "Top-p",
        "Only the most likely tokens whose probabilities add up to this share (nucleus sampling). 1: all.",
        gt=0,
        le=1,
        slider=True,
        advanced=True,
    )
    top_k: int = option(
        0, "Top-k", "Only this many of the most likely tokens. 0: all.", ge=0, le=100_000, advanced=True
    )
    min_p: float = option(
        0.0,
        "Min-p",
        "Only tokens at least this share as likely as the most likely one. 0: all.",
        ge=0,
        le=1,
        slider=True,
        advanced=True,
    )
    repetition_penalty: float = option(
        1.0,
        "Repetition penalty",
        "Above 1, tokens that already occurred become less likely; 1.1 is already strong.",
        ge=0.5,
        le=3,
        advanced=True,
    )
    presence_penalty: float = option(
        0.0,
        "Presence penalty",
        "Above 0, tokens that the answer already holds become less likely, however often they occurred.",
        ge=-2,
        le=2,
        advanced=True,
    )
    frequency_penalty: float = option(
        0.0,
        "Frequency penalty",
        "Above 0, tokens become less likely with each time that the answer already holds them.",
        ge=-2,
        le=2,
        advanced=True,
    )
    seed: int | None = option(
        None, "Seed", "Same seed, same answer. Empty: another one each time.", ge=0, le=2**31 - 1, advanced=True
    )

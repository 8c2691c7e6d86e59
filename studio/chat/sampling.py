"""How an answer's words are chosen: the options of the Chat tab and of the server's requests. No torch here."""

from __future__ import annotations

from studio.options import Options, option


class Sampling(Options):
    """Temperature and its kin. The defaults give the one most likely answer, as at a run's evaluations."""

    temperature: float = option(
        0.0,
        "Temperature",
        "0 always takes the most likely word; around 0.7 is lively, above 1 is wild.",
        ge=0,
        le=5,
        slider=True,
    )
    max_tokens: int = option(
        256, "Answer length", "The answer ends after so many tokens at the latest.", unit="tokens", ge=1, le=32_768
    )
    top_p: float = option(
        1.0,
        "Top-p",
        "Only the likeliest words that together make up this share. 1: all.",
        gt=0,
        le=1,
        slider=True,
        advanced=True,
    )
    top_k: int = option(0, "Top-k", "Only so many of the likeliest words. 0: all.", ge=0, le=100_000, advanced=True)
    repetition_penalty: float = option(
        1.0,
        "Repetition penalty",
        "Above 1 words that were said become less likely; 1.1 is much already.",
        ge=0.5,
        le=3,
        advanced=True,
    )
    seed: int | None = option(
        None, "Seed", "Same seed, same answer. Empty: another one each time.", ge=0, le=2**31 - 1, advanced=True
    )

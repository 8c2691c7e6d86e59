"""Which programs can use an adapter as it is, which need another export, and why.

The programs' rules, with the addresses of the documentation and the day it was read, are in compatibility.json.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from studio.export.lora_checks import lora_modules, scalings
from studio.export.source import Source
from studio.export.targets import TARGETS
from studio.words import Sentence, StudioError

DIRECT, MERGED, NO = "direct", "merged", "no"
"""An adapter can be used as it is; only its merged model can; nothing of it can."""


@dataclass(frozen=True)
class Verdict:
    """What a program can do with an adapter. sources: addresses of the documentation."""

    title: str
    verdict: str
    sentence: Sentence
    sources: tuple[str, ...]


@cache
def programs() -> dict[str, dict]:
    """Key → title, sources and limits of each program."""
    return _data()["programs"]


def read_on() -> str:
    """The day on which the documentation was read, YYYY-MM-DD."""
    return _data()["read"]


@cache
def _data() -> dict:
    return json.loads(Path(__file__).with_name("compatibility.json").read_text(encoding="utf-8"))


def verdicts(source: Source) -> list[Verdict]:
    """One verdict for each program; none where the adapter's files are damaged, which each target then says."""
    found = []
    try:
        for key, program in programs().items():
            verdict, sentence = _CHECKS[key](source, program)
            found.append(Verdict(program["title"], verdict, sentence, tuple(program["sources"])))
    except StudioError:
        return []
    return found


def _peft(source: Source, program: dict) -> tuple[str, Sentence]:
    if source.whole:
        return DIRECT, Sentence("Loads with transformers alone.")
    if source.own_type:
        return _merged_or_no(
            source, Sentence("Its type is Delta Studio's own: it loads where `studio.tuners` is, beside peft.")
        )
    if (source.folder / "rope.json").exists():
        return DIRECT, Sentence("Loads with stock peft, after the base's context is scaled as its README shows.")
    return DIRECT, Sentence("Loads with stock peft.")


def _vllm(source: Source, program: dict) -> tuple[str, Sentence]:
    return _server(source, program) or _rank(source, program)


def _rank(source: Source, program: dict) -> tuple[str, Sentence]:
    rank = max((shape[0] for name, shape in source.tensors.items() if "lora_A" in name), default=0)
    allowed = next((each for each in program["ranks"] if each >= rank), None)
    if allowed is None:
        return _merged_or_no(
            source,
            Sentence("Its rank is {rank}, the largest one allowed {limit}.", rank=rank, limit=program["ranks"][-1]),
        )
    if allowed > program["default_rank"]:
        return DIRECT, Sentence("Needs `--enable-lora --max-lora-rank {rank}`.", rank=allowed)
    return DIRECT, Sentence("Needs `--enable-lora`.")


def _sglang(source: Source, program: dict) -> tuple[str, Sentence]:
    return _server(source, program) or (DIRECT, Sentence("Needs `--enable-lora` and `--lora-paths`."))


def _server(source: Source, program: dict) -> tuple[str, Sentence] | None:
    """What both servers refuse; None if they can take the adapter as it is."""
    if not source.writes_text:
        return NO, Sentence("It generates text with LoRA; this adapter classifies.")
    if source.whole:
        return DIRECT, Sentence("Serves it like any model of its architecture.")
    config = source.adapter_config
    if config.get("peft_type") != "LORA":
        return _merged_or_no(
            source, Sentence("It takes LoRA alone; this adapter is {type}.", type=config.get("peft_type"))
        )
    if config.get("use_dora"):
        return _merged_or_no(source, Sentence("It does not take DoRA."))
    if config.get("bias", "none") != "none":
        return _merged_or_no(source, Sentence("It does not take trained biases."))
    if config.get("modules_to_save"):
        return _merged_or_no(source, Sentence("It does not take whole layers (modules_to_save)."))
    if source.tensors.keys() - _plain_lora(source):
        return _merged_or_no(source, Sentence("It takes plain LoRA matrices alone; this adapter holds others."))
    other = sorted({module.rsplit(".", 1)[-1] for module in lora_modules(source)} - set(program["layers"]))
    if other:
        return _merged_or_no(source, Sentence("It takes no LoRA on the layers {layers}.", layers=", ".join(other)))
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        scales = {round(scale, 9) for scale in scalings(source).values()}
        if len(scales) > 1 or config.get("alpha_pattern"):
            return _merged_or_no(source, Sentence("It scales all layers alike; this adapter scales them differently."))
    return None


def _plain_lora(source: Source) -> set[str]:
    return {name for name in source.tensors if re.search(r"\.lora_[AB]\.weight$", name)}


def _llama_cpp(source: Source, program: dict) -> tuple[str, Sentence]:
    if source.whole:
        refused = TARGETS["gguf"].refusal(source)
        return (NO, refused) if refused else (DIRECT, Sentence("Export it as GGUF."))
    if refused := TARGETS["gguf_lora"].refusal(source):
        merged = TARGETS["gguf"].refusal(source)
        return (NO, merged) if merged else (MERGED, refused)
    return DIRECT, Sentence("Export the LoRA alone as GGUF, and the base once, or the merged model.")


def _ollama(source: Source, program: dict) -> tuple[str, Sentence]:
    verdict, sentence = _llama_cpp(source, program)
    if verdict == DIRECT:
        return DIRECT, Sentence("As for llama.cpp, with the Modelfile beside it: `ollama create NAME -f Modelfile`.")
    return verdict, sentence


def _merged_or_no(source: Source, reason: Sentence) -> tuple[str, Sentence]:
    refused = TARGETS["merged"].refusal(source)
    if refused is None:
        return MERGED, reason
    return NO, Sentence("{reason} It cannot be merged either.", reason=reason)


_CHECKS = {"peft": _peft, "vllm": _vllm, "sglang": _sglang, "llama.cpp": _llama_cpp, "ollama": _ollama}

"""What an adapter's LoRA matrices are, and why llama.cpp would not apply them as a LoRA. Uses no torch."""

from __future__ import annotations

import math
import re

from studio.export.source import Source
from studio.words import Sentence

_LORA = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


def lora_refusal(source: Source) -> Sentence | None:
    """Why the adapter cannot be a LoRA file of llama.cpp; None if it can."""
    config = source.adapter_config
    if config.get("peft_type") != "LORA":
        return Sentence(
            "llama.cpp applies LoRA alone; this adapter is {type}. Export the merged model, or convert it to LoRA.",
            type=config.get("peft_type", "?"),
        )
    if config.get("use_dora"):
        return Sentence("llama.cpp cannot apply DoRA's magnitudes. Export the merged model, or convert it to LoRA.")
    if config.get("modules_to_save") or config.get("trainable_token_indices"):
        return Sentence(
            "The adapter also changes whole layers ({layers}), and llama.cpp applies low-rank changes only. "
            "Export the merged model.",
            layers=", ".join(config.get("modules_to_save") or ["embed_tokens"]),
        )
    other = [name for name in source.tensors if not _LORA.fullmatch(name)]
    if other:
        return Sentence(
            "The adapter holds {name}, which is no plain LoRA matrix, and llama.cpp would not apply it. "
            "Export the merged model.",
            name=other[0].removeprefix("base_model.model."),
        )
    if any(re.search(r"(embed_tokens|lm_head)\.lora_", name) for name in source.tensors):
        return Sentence("The adapter changes the embeddings or the output layer. Export the merged model.")
    if (source.folder / "rope.json").exists():
        return Sentence("The adapter needs a longer context of its base model, which a LoRA file cannot say.")
    return None


def scalings(source: Source) -> dict[str, float]:
    """Module → the factor by which peft scales B A there."""
    config = source.adapter_config
    found = {}
    for module in sorted(lora_modules(source)):
        rank = _by_pattern(config.get("rank_pattern"), module, config["r"])
        alpha = _by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
        found[module] = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return found


def _by_pattern(patterns: dict | None, module: str, default):
    """peft's rule: the first pattern that the module's name ends with, as a whole part."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def lora_modules(source: Source) -> set[str]:
    """Names of the base model's modules that have LoRA matrices."""
    return {found[1] for name in source.tensors if (found := _LORA.fullmatch(name))}

"""The strength of an adapter: 1 as it was trained, 0 the base model, 0.5 half of its change of each weight.

Where a method changes the base model's weights by ΔW, a scale s means s · ΔW; what does more than that has no strength.
Reads an adapter's files only; no torch here.
"""

from __future__ import annotations

import json
from pathlib import Path

from studio.models.rope_scaling import ROPE_FILE
from studio.words import Sentence

MAX_SCALE = 2.0
_CHANGES_WEIGHTS = (
    "LORA ADALORA LOHA LOKR VERA PVERA RANDLORA VBLORA UNILORA TINYLORA FOURIERFT WAVEFT C3A OFT BOFT HRA ROAD MISS "
    "GRALORA HIRA DELORA DEFT GLORA PEANUT IA3 LN_TUNING BITFIT BEFT SHIRA OSF"
)
"""PEFT types (separated by spaces) whose layers change weights of single linear, embedding or normalisation layers."""
_COPIES_LAYERS = ("layer_selection", "group_mask")  # methods of the type LN_TUNING that are not limited to norms


def scale_refusal(folder: Path, card: dict) -> Sentence | None:
    """Why the adapter in `folder` has no strength that could be set; None if it has one. card: its card."""
    if card.get("kind") == "model":
        return Sentence("A fully fine-tuned model takes the base model's place, so it has no strength.")
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Sentence("Its adapter_config.json cannot be read.")
    if config.get("peft_type") not in _CHANGES_WEIGHTS.split() or card.get("method") in _COPIES_LAYERS:
        return Sentence("This method does not change single weights of the base model, so it has no strength.")
    if config.get("bias", "none") != "none" or config.get("modules_to_save") or config.get("trainable_token_indices"):
        return Sentence("It also holds parts of the base model that were trained as a whole, which have no strength.")
    if (folder / ROPE_FILE).exists():
        return Sentence("It extends the context of the base model, which works at full strength only.")
    return None

"""Model types for which transformers has classes, kept as data so that the window can look them up without importing
it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

WRITES_TOO = ("mistral3",)
"""Text-generating types that transformers loads only as multimodal models, by AutoModelForImageTextToText."""
GEMMA4 = ("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text")
"""Types whose layers have two different head sizes, and whose tokens are looked up in two embedding tables, so that the
model does not accept `inputs_embeds` in place of token ids."""
_TYPES = Path(__file__).with_name("model_types.json")


def loader(model_type: str) -> str:
    """The auto class of transformers that loads a model of this type for text generation."""
    return "AutoModelForImageTextToText" if model_type in WRITES_TOO else "AutoModelForCausalLM"


@cache
def model_types() -> dict:
    """{"transformers": version, capability → its model types}: causal_lm, text_classification, image_classification,
    encoder, …

    `tests/models/test_model_types.py` writes the file and compares it with the installed transformers.
    """
    return json.loads(_TYPES.read_text(encoding="utf-8"))

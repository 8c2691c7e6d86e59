"""Model types for which transformers has classes, kept as data so that the window can look them up without importing
it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

WRITES_TOO = ("mistral3",)
"""Types that write and are no language models to transformers: it loads them with what looks at pictures, by
AutoModelForImageTextToText."""
GEMMA4 = ("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text")
"""Types whose layers have heads of two sizes, and whose inputs a model looks up in two tables, so that it takes no
vectors instead of words."""
_TYPES = Path(__file__).with_name("model_types.json")


def loader(model_type: str) -> str:
    """transformers' class that loads a model of the type to write."""
    return "AutoModelForImageTextToText" if model_type in WRITES_TOO else "AutoModelForCausalLM"


@cache
def model_types() -> dict:
    """{"transformers": version, capability → its model types}: causal_lm, text_classification, image_classification,
    encoder, …

    `tests/models/test_model_types.py` writes the file and compares it with the installed transformers.
    """
    return json.loads(_TYPES.read_text(encoding="utf-8"))

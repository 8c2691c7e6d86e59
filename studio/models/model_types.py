"""Model types for which transformers has classes, kept as data so that the window can look them up without importing
it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

WRITES_TOO = ("mistral3",)
"""Types that write and are no language models to transformers: it loads them with what looks at pictures, by AutoModelForImageTextToText."""
_TYPES = Path(__file__).with_name("model_types.json")


@cache
def model_types() -> dict:
    """{"transformers": version, capability → its model types}: causal_lm, text_classification, image_classification,
    encoder, …

    `tests/models/test_model_types.py` writes the file and compares it with the installed transformers.
    """
    return json.loads(_TYPES.read_text(encoding="utf-8"))

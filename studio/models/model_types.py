"""Which types of models transformers has classes for, kept as data, so that the window can ask without importing it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_TYPES = Path(__file__).with_name("model_types.json")


@cache
def model_types() -> dict:
    """What transformers knows: {"transformers": its version, what a model can be → its types}.

    `tests/models/test_model_types.py` writes the file and compares it with the installed transformers.
    """
    return json.loads(_TYPES.read_text(encoding="utf-8"))

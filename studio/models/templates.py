"""Chat templates that can be lent to a base model: well-known formats, as Jinja files in `assets/templates`.

Knows their names and titles; what they mean to a model, and how they are rendered, is `codec.py`'s.
"""

from __future__ import annotations

from functools import cache

from studio.home import ASSETS

FOLDER = ASSETS / "templates"
OWN = "own"
TEMPLATES: dict[str, str] = {
    OWN: "The model's own (ChatML where it has none)", "chatml": "ChatML", "qwen3": "Qwen3", "llama3": "Llama 3", "gemma": "Gemma", "mistral": "Mistral", "alpaca": "Alpaca",
}
"""Name → what a person reads."""


@cache
def template(name: str) -> str:
    """The Jinja source of the template called `name`."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8").strip("\n")

"""Chat templates that can be lent to a base model: well-known formats, as Jinja files in `assets/templates`.

Knows their names and titles, and how any template is changed so that it takes system texts that it refuses; what templates mean to a model,
and how they are rendered, is `codec.py`'s.
"""

from __future__ import annotations

from functools import cache

from studio.home import ASSETS

FOLDER = ASSETS / "templates"
OWN = "own"
TEMPLATES: dict[str, str] = {
    OWN: "The model's own (ChatML where it has none)",
    "chatml": "ChatML",
    "qwen3": "Qwen3",
    "llama3": "Llama 3",
    "gemma": "Gemma",
    "mistral": "Mistral",
    "alpaca": "Alpaca",
}
"""Name → what a person reads."""


@cache
def template(name: str) -> str:
    """The Jinja source of the template called `name`."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8").strip("\n")


SYSTEM_REWRITES: dict[str, str] = {
    "question": "{%- set rewritten = namespace(messages=[], held='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{%- set rewritten.held = rewritten.held + message['content'] + '\n\n' %}{%- elif message['role'] == 'user' %}"
    "{%- set rewritten.messages = rewritten.messages + [{'role': 'user', 'content': rewritten.held + message['content']}] %}"
    "{%- set rewritten.held = '' %}{%- else %}{%- set rewritten.messages = rewritten.messages + [message] %}{%- endif %}{%- endfor %}"
    "{%- set messages = rewritten.messages %}",
    "none": "{%- set messages = messages | rejectattr('role', 'equalto', 'system') | list %}",
}
"""What becomes of system texts → the Jinja that is put before a template for it: written before the next question, or left out. It is part of the
template that is saved with an adapter, so every program writes the same prompt."""


def rewrite_system_messages(source: str, rewrite: str) -> str:
    """The template `source` with system texts rewritten as `where` (a key of `SYSTEM_TEXTS`, or "") says before it sees them."""
    return SYSTEM_REWRITES[rewrite] + source if rewrite else source

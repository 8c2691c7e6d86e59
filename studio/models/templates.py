"""Chat templates that can be used in place of a model's own: well-known formats, as Jinja files in `assets/templates`.

Holds their names and titles, and rewrites any template to accept system messages that it would reject. How templates
are rendered is in `chat_tokenizer.py`.
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
"""Name → title on the page."""


@cache
def template(name: str) -> str:
    """The Jinja source of the template called `name`."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8").strip("\n")


SYSTEM_REWRITES: dict[str, str] = {
    "question": "{%- set rewritten = namespace(messages=[], held='') %}{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{%- set rewritten.held = rewritten.held + message['content'] + '\n\n' %}"
    "{%- elif message['role'] == 'user' %}"
    "{%- set rewritten.messages = rewritten.messages "
    "+ [{'role': 'user', 'content': rewritten.held + message['content']}] %}"
    "{%- set rewritten.held = '' %}{%- else %}{%- set rewritten.messages = rewritten.messages + [message] %}"
    "{%- endif %}{%- endfor %}"
    "{%- set messages = rewritten.messages %}",
    "none": "{%- set messages = messages | rejectattr('role', 'equalto', 'system') | list %}",
}
"""How system messages are rewritten → the Jinja that is prepended to a template for it: moved into the next question,
or left out. It is part of the template that is saved with an adapter, so every program renders the same prompt.
"""


def rewrite_system_messages(source: str, rewrite: str) -> str:
    """The template `source` with system messages rewritten first. rewrite: a key of `SYSTEM_REWRITES`, or ""."""
    return SYSTEM_REWRITES[rewrite] + source if rewrite else source

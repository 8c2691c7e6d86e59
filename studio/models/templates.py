"""Chat templates that can replace a model's own: well-known formats, as Jinja files in `assets/templates`.

Also rewrites templates so that they accept system messages that they would otherwise reject. Templates are rendered in
`chat_tokenizer.py`.
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
"""Name → displayed title."""


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
"""Rewrite → Jinja code that is prepended to a template: "question" moves system messages into the next user message,
"none" removes them. It is part of the template saved with an adapter, so every program renders the same prompt.
"""


def rewrite_system_messages(source: str, rewrite: str) -> str:
    """Prepend a rewrite of system messages to the template `source`. rewrite: a key of `SYSTEM_REWRITES`, or ""."""
    return SYSTEM_REWRITES[rewrite] + source if rewrite else source

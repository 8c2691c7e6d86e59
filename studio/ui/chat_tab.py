"""The Chat tab: the base model and adapters answer side by side, streamed from one loaded base model.

This module puts the parts of the tab together; each part is a module of its own.
"""

from __future__ import annotations

import gradio as gr

from studio.ui import (
    chat_actions,
    chat_compare,
    chat_history,
    chat_layout,
    chat_models,
    chat_presets,
    chat_turn,
    class_playground,
    serve_panel,
)
from studio.ui.access import may_change, on_space
from studio.ui.chat_layout import ChatParts
from studio.ui.page import Page
from studio.ui.suggestions import suggestions_html

_SHOW_COLUMNS = """(id) => {
  if (id) document.querySelector('#chat-columns')?.scrollIntoView({ block: 'start' });
  return [];
}"""


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.follow_draft("chat")
    parts = chat_layout.build(page)
    view = chat_compare.build(page)
    with gr.Accordion(page.t("System prompt and sampling"), open=False, elem_id="chat-settings"):
        parts.system.render()
        presets = chat_presets.build(page)
        parts.sampling.render()
    history = chat_history.build(page)
    play = class_playground.build(page)
    # Ports of a Space's container cannot be reached from outside.
    serve = None if on_space() else serve_panel.build(page)

    def bind():
        chat_models.bind(page, parts, play)
        chat_turn.bind(page, parts)
        chat_actions.bind(page, parts)
        chat_compare.bind(page, parts, view)
        chat_presets.bind(page, presets, parts.sampling)
        chat_history.bind(page, parts, history)
        bind_suggestions(page, parts)
        if serve:
            serve_panel.bind(page, serve, parts.base)

    return bind


def bind_suggestions(page: Page, parts: ChatParts) -> None:
    """Offer prompts while the conversation is empty; a click on one sends it."""

    def suggest(chosen, id, profile: gr.OAuthProfile | None):
        return "" if id else suggestions_html(page, chat_models.rows_of(page, chosen), owner=may_change(profile))

    def choose_suggestion(event: gr.EventData):
        return event.item

    page.on(parts.models.change, suggest, [parts.models, parts.id], parts.suggested)
    gone = page.on(parts.id.change, suggest, [parts.models, parts.id], parts.suggested)
    page.on(gone.then, None, parts.id, None, js=_SHOW_COLUMNS)
    picked = page.on(parts.suggested.click, choose_suggestion, None, parts.message)
    given = [parts.message, *parts.given]
    page.on(picked.then, chat_turn.asker(page), given, parts.shown, queue=True, concurrency_limit=8)

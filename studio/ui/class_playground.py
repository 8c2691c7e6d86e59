"""Classifier playground of the Chat tab: class probabilities of a text or an image from each chosen adapter.

The adapters are chosen in the Chat tab; the probabilities come from the chat worker through `studio.chat.client`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from studio import hardware
from studio.chat import client
from studio.tasks import TASKS
from studio.ui.classes import answer_html, baseline_sentence
from studio.ui.html_parts import e, note
from studio.ui.page import Page
from studio.words import StudioError


@dataclass
class Playground:
    """The components of the playground, all inside `column`."""

    column: gr.Column
    text: gr.Textbox
    picture: gr.Image
    ask: gr.Button
    result: gr.HTML

    @property
    def shown(self) -> list:
        return [self.column, self.text, self.picture]


def build(page: Page) -> Playground:
    """Create the components, hidden until a classifier is chosen."""
    with gr.Column(visible=False) as column:
        text = gr.Textbox(
            label=page.t("Text to classify"),
            placeholder=page.t("Write or paste a text, as in the examples it was fine-tuned with."),
            lines=2,
            max_lines=8,
            elem_id="classify-text",
        )
        picture = gr.Image(
            label=page.t("Picture to classify"),
            type="filepath",
            sources=["upload", "clipboard"],
            height=260,
            visible=False,
            elem_id="classify-picture",
        )
        ask = gr.Button(page.t("Classify"), variant="primary", elem_id="classify")
        result = gr.HTML(elem_id="class-result", apply_default_css=False)
    return Playground(column, text, picture, ask, result)


def is_classifier(row: dict | None) -> bool:
    """Return whether a library adapter returns class probabilities instead of text."""
    return bool(row and "labels" in row["card"])


def visible(rows: list[dict]) -> list:
    """Return updates of `Playground.shown` for the chosen adapters `rows`."""
    modalities = {
        TASKS[row["card"]["task"]].modality for row in rows if is_classifier(row) and row["card"].get("task") in TASKS
    }
    return [
        gr.update(visible=bool(modalities)),
        gr.update(visible="text" in modalities),
        gr.update(visible="image" in modalities),
    ]


def classify(page: Page, rows: list[dict], base: str, text: str, picture: str | None) -> Iterator[str]:
    """Yield the contents of `result`: the worker's status, then the class probabilities of each chosen classifier.

    Raises `StudioError` if no classifier is chosen.
    """
    rows = [row for row in rows if is_classifier(row)]
    if not rows:
        raise StudioError("Choose a classifier above: an adapter that was fine-tuned for classification.")
    job = client.ensure_chat_server(
        page.store, page.home, base, device=hardware.choose_device("auto"), head="classification"
    )
    yield from _waiting(page, job)
    server, _ = client.server_state(page.store, job)
    parts = []
    for row in rows:
        given = {"picture": picture} if TASKS[row["card"]["task"]].modality == "image" else {"text": text or ""}
        found = client.classify(server, row["id"], **given)
        message = baseline_sentence(page, row["card"].get("metrics") or {})
        parts.append(
            f'<section class="class-voice"><h4>{e(row["name"])}</h4>{answer_html(page, found)}'
            f"{f'<p class=help>{e(message)}</p>' if message else ''}</section>"
        )
    yield f'<div class="class-voices">{"".join(parts)}</div>'


def _waiting(page: Page, job: int) -> Iterator[str]:
    """Yield the worker's status until it is ready."""
    text: list[str] = []

    def hear(sentence) -> None:
        text.append(note(page.say(sentence)))

    yield note(page.t("Waiting for a worker"))
    client.wait_ready(page.store, job, progress=hear)
    yield from text[-1:]

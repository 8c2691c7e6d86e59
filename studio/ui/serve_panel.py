"""Panel of the Chat tab that serves the model to other programs: start, stop, address, key and code snippets.

The server and its endpoint are defined in `studio.chat.serving`; this module only displays them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from studio.chat import client, serving
from studio.library import adapter_store
from studio.ui.html_parts import facts, note
from studio.ui.page import Page
from studio.words import StudioError

_PORTS = (1024, 65535)
_LANGUAGES = {"curl": "shell", "Python": "python", "Open WebUI": None, "LibreChat": "yaml"}
"""Snippet → language for syntax highlighting in gr.Code (None: plain)."""
_HIDDEN_KEY = "••••••••"


@dataclass
class ServePanel:
    """The components of the panel."""

    port: gr.Number
    start: gr.Button
    stop: gr.Button
    show_key: gr.Checkbox
    state: gr.HTML
    snippets: list[gr.Code]

    @property
    def shown(self) -> list:
        """The components that `view` updates."""
        return [self.port, self.start, self.stop, self.state, *self.snippets]


def build(page: Page) -> ServePanel:
    """Create the panel, collapsed."""
    with gr.Accordion(page.t("Serve to other programs (API)"), open=False, elem_id="serve-panel"):
        gr.Markdown(
            page.t(
                "Programs on this computer can use the base model chosen above and its adapters as they use OpenAI's "
                "API. The model stays in memory until you stop serving it."
            )
        )
        with gr.Row(elem_id="serve-row"):
            port = gr.Number(
                serving.DEFAULT_PORT, label=page.t("Port"), precision=0, min_width=160, scale=0, elem_id="serve-port"
            )
            start = gr.Button(page.t("Start serving"), variant="primary", min_width=140, scale=0, elem_id="serve-start")
            stop = gr.Button(page.t("Stop serving"), visible=False, min_width=140, scale=0, elem_id="serve-stop")
        state = gr.HTML(elem_id="serve-state", apply_default_css=False)
        show_key = gr.Checkbox(label=page.t("Show the key in the address and the examples below"), elem_id="serve-key")
        codes = []
        with gr.Tabs():
            for name, language in _LANGUAGES.items():
                with gr.Tab(name):
                    codes.append(gr.Code(language=language, show_label=False, interactive=False, lines=3))
    return ServePanel(port, start, stop, show_key, state, codes)


def bind(page: Page, panel: ServePanel, base: gr.Dropdown) -> None:
    """Bind the panel's event handlers. `base`: the Chat tab's dropdown of base models."""

    def start(port, chosen_base, show_key) -> Iterator[list]:
        yield from start_serving(page, port, chosen_base, show_key)

    def stop(chosen_base, show_key) -> list:
        if job := serving.served_job(page.store):
            page.store.command(job["id"], "stop")
        return view(page, chosen_base, show_key)

    def look(chosen_base, show_key) -> list:
        return view(page, chosen_base, show_key)

    given = [base, panel.show_key]
    options = {"changes": True, "show_progress": "hidden"}
    page.on(panel.start.click, start, [panel.port, *given], panel.shown, queue=True, **options)
    page.on(panel.stop.click, stop, given, panel.shown, **options)
    for event in (panel.show_key.input, base.change, page.parts["tab-chat"].select):
        page.on(event, look, given, panel.shown, **options)


def start_serving(page: Page, port: int | None, base: str, show_key: bool) -> Iterator[list]:
    """Start the server; yield updates of `ServePanel.shown` while the model loads.

    Raises `StudioError` if the port is not allowed or the server cannot be started.
    """
    if port is None or not _PORTS[0] <= port <= _PORTS[1]:
        raise StudioError("The port must be a number from {low} to {high}.", low=_PORTS[0], high=_PORTS[1])
    at = serving.endpoint(page.home)
    if at.port != port:
        at = serving.save_endpoint(page.home, serving.Endpoint(int(port), at.key))
    settings = page.editor.inference_settings(base)
    job = client.ensure_chat_server(page.store, page.home, base, serve_at=at, **settings)
    last = None
    while True:
        try:
            server, doing = client.server_state(page.store, job)
        except StudioError:
            yield view(page, base, show_key)
            raise
        if server:
            yield view(page, base, show_key)
            return
        if doing != last:
            last = doing
            yield view(page, base, show_key)
        time.sleep(0.1)


def view(page: Page, base: str, show_key: bool) -> list:
    """Return updates of `ServePanel.shown`: what is being served, and how other programs can use it."""
    at = serving.endpoint(page.home)
    job = serving.served_job(page.store)
    key = at.key if show_key else _HIDDEN_KEY
    rows = adapter_store.listing(page.store, base=job["payload"]["model"] if job else base)
    model = rows[0]["name"] if rows else "base"
    texts = serving.snippets(at.url, key, model)
    return [
        gr.update(value=at.port, interactive=job is None),
        gr.update(visible=job is None),
        gr.update(visible=job is not None),
        _state_html(page, job, at.url, key, rows),
        *(gr.update(value=texts[name]) for name in _LANGUAGES),
    ]


def _state_html(page: Page, job: dict | None, url: str, key: str, rows: list[dict]) -> str:
    if job is None:
        return note(page.t("Nothing is served now."))
    if not job["result"]:
        return note(page.say(job["doing"]) or page.t("Starting the server"))
    names = ", ".join(["base", *(row["name"] for row in rows)])
    return note(page.t("Other programs can use it now."), "good") + facts(
        [
            (page.t("Address"), url),
            (page.t("Key"), key),
            (page.t("Base model"), job["payload"]["model"]),
            (page.t("Models that can be asked for"), names),
        ]
    )

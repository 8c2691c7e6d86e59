"""The Library's panel that turns an adapter into a stock LoRA, or a LoRA into one of lower rank: how close it comes is
shown before it is saved.

The conversion itself is in `studio.merging`, in a job; this module only displays it.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from studio.jobs import client
from studio.merging import convert as converting
from studio.options import Options
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import facts, note
from studio.ui.library_panel import Opened
from studio.ui.page import Page
from studio.ui.preview_list import PreviewList
from studio.words import Sentence, StudioError

NAME = "convert"
TITLE, MINIMUM, MAXIMUM = "Convert to LoRA", 1, 1


def refusal(page: Page, rows: list[dict]) -> Sentence | None:
    """Why the adapter cannot become a LoRA; None if it may."""
    try:
        return next(
            filter(None, (converting.refusal(page.home.adapter(row["id"]), row["card"], row["name"]) for row in rows)),
            None,
        )
    except StudioError as error:
        return error.sentence


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers."""
    with gr.Column(visible=False, elem_id="convert-panel", elem_classes="library-panel") as group:
        gr.Markdown(f"### {page.t('Convert to LoRA')}")
        gr.Markdown(
            page.t(
                "What the adapter changes in each weight, as the two thin matrices of a LoRA, which every server "
                "loads. How close it comes is measured on the loaded model before you save it. A LoRA becomes one of "
                "lower rank."
            )
        )
        adapter = gr.Textbox(visible="hidden", label="id")
        about = gr.HTML(elem_id="convert-about", apply_default_css=False)
        form = OptionForm(converting.ConvertOptions, language=page.language, elem_id="convert-options")
        with gr.Row():
            start = gr.Button(page.t("Convert"), variant="primary", min_width=120, scale=0, elem_id="convert-start")
            close = gr.Button(page.t("Close"), min_width=100, scale=0, elem_id="convert-close")
        made = PreviewList(page, "convert")
    parts = SimpleNamespace(group=group, adapter=adapter, about=about, form=form, start=start, close=close, made=made)
    return lambda: _bind(page, parts)


def _bind(page: Page, parts: SimpleNamespace) -> None:
    opened, made = page.parts["library-opened"], parts.made

    def open_panel(text):
        asked = Opened.parse(text)
        row = page.store.adapter(asked.adapters[0]) if asked.panel == NAME and asked.adapters else None
        if row is None:
            return [gr.update(visible=False), gr.Timer(active=False), *[gr.skip()] * 6]
        problem = refusal(page, [row])
        return [
            gr.update(visible=True),
            gr.Timer(active=True),
            row["id"],
            about_html(page, row, problem),
            gr.update(interactive=problem is None),
            *made.view(),
        ]

    def start_job(adapter, raw):
        start_conversion(page, adapter, raw)
        return made.view()

    everything = [parts.group, made.timer, parts.adapter, parts.about, parts.start, *made.shown]
    page.on(opened.change, open_panel, opened, everything, changes=True)
    page.on(parts.start.click, start_job, [parts.adapter, parts.form], made.shown, changes=True)
    page.on(parts.close.click, lambda: "", None, opened, changes=True)
    made.bind()


def about_html(page: Page, row: dict, problem: Sentence | None) -> str:
    """Which adapter is converted, and why it cannot be."""
    card = row["card"]
    found = facts(
        [
            (page.t("Adapter"), row["name"]),
            (page.t("Type"), f"{card.get('summary', '')} ({card.get('artefact_type', '?')})"),
            (page.t("Base model"), str(card.get("base", "?"))),
        ]
    )
    return found + (note(page.say(problem), "bad") if problem else "")


def start_conversion(page: Page, adapter: str, raw: dict) -> int:
    """Queue the job; returns its id. Raises StudioError for an invalid option, or an adapter that cannot be
    converted.
    """
    options: Options | None
    options, wrong = form_values(raw, converting.ConvertOptions)
    if options is None:
        raise StudioError(next(iter(wrong.values())))
    row = page.store.adapter(adapter)
    if row is None:
        raise StudioError("Choose an adapter to convert.")
    if problem := refusal(page, [row]):
        raise StudioError(problem)
    return client.start_job(page.store, "convert", {"adapter": adapter, "options": options.model_dump()})

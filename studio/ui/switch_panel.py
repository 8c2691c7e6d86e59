"""The Library's panel that gives a merged model the task of another adapter, in place.

The switch itself is in `studio.merging.task_switch`, in a job; this module only displays it.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from studio.jobs import client
from studio.library import adapter_store, lineage
from studio.merging import jobs
from studio.ui.html_parts import Board, facts, note
from studio.ui.library_panel import Opened
from studio.ui.page import Page
from studio.ui.preview_list import state_html
from studio.words import Sentence, StudioError

NAME = "switch"
TITLE, MINIMUM, MAXIMUM = "Switch task", 1, 1


def refusal(page: Page, rows: list[dict]) -> Sentence | None:
    """Why the task of the model cannot be switched; None if it can."""
    for row in rows:
        if not lineage.merged_adapter(row["card"]):
            return Sentence("Only a model that the studio has merged from an adapter can switch its task.")
        if not offered(page, row):
            return Sentence("The library has no other adapter of this base model that can be merged.")
    return None


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers."""
    with gr.Column(visible=False, elem_id="switch-panel", elem_classes="library-panel") as group:
        gr.Markdown(f"### {page.t('Switch the task of a merged model')}")
        gr.Markdown(
            page.t(
                "The model's folder gets the weights of its base model with another adapter merged: W₀ + ΔW becomes "
                "W₀ + ΔW′. They come from the base model's own files, because subtracting would leave rounding errors; "
                "switching back gives the same weights again, bit for bit."
            )
        )
        model = gr.Textbox(visible="hidden", label="id")
        about = gr.HTML(elem_id="switch-about", apply_default_css=False)
        adapter = gr.Dropdown([], label=page.t("Adapter of the new task"), elem_id="switch-adapter")
        with gr.Row():
            start = gr.Button(page.t("Switch task"), variant="primary", min_width=120, scale=0, elem_id="switch-start")
            close = gr.Button(page.t("Close"), min_width=100, scale=0, elem_id="switch-close")
        state = Board(elem_id="switch-state")
        timer = gr.Timer(1.0, active=False)
    parts = SimpleNamespace(
        group=group, model=model, about=about, adapter=adapter, start=start, close=close, state=state, timer=timer
    )
    return lambda: _bind(page, parts)


def _bind(page: Page, parts: SimpleNamespace) -> None:
    opened = page.parts["library-opened"]

    def open_panel(text):
        asked = Opened.parse(text)
        row = page.store.adapter(asked.adapters[0]) if asked.panel == NAME and asked.adapters else None
        if row is None:
            return [gr.update(visible=False), gr.Timer(active=False), *[gr.skip()] * 5]
        problem = refusal(page, [row])
        choices = [] if problem else offered(page, row)
        return [
            gr.update(visible=True),
            gr.Timer(active=True),
            row["id"],
            about_html(page, row, problem),
            gr.update(choices=choices, value=choices[0][1] if choices else None),
            gr.update(interactive=problem is None),
            switch_html(page),
        ]

    def start_job(model, adapter):
        start_switch(page, model, adapter)
        return switch_html(page)

    def press(event: gr.EventData):
        if event.act == "stop":
            client.stop(page.store, int(event.item))
        return switch_html(page)

    def look(model):
        row = page.store.adapter(model)
        return switch_html(page), about_html(page, row, None) if row else ""

    everything = [parts.group, parts.timer, parts.model, parts.about, parts.adapter, parts.start, parts.state]
    page.on(opened.change, open_panel, opened, everything, changes=True)
    page.on(parts.start.click, start_job, [parts.model, parts.adapter], parts.state, changes=True)
    page.on(parts.close.click, lambda: "", None, opened, changes=True)
    page.on(parts.state.click, press, None, parts.state, changes=True)
    page.on(parts.timer.tick, look, parts.model, [parts.state, parts.about], changes=True)


def offered(page: Page, row: dict) -> list[tuple[str, str]]:
    """(title, id) of the adapters whose task the model in `row` can get."""
    return [
        (f"{other['name']} · {other['card'].get('summary', '')}", other["id"])
        for other in adapter_store.listing(page.store)
        if jobs.switch_refusal(row["card"], other["id"], other["card"], other["name"]) is None
    ]


def about_html(page: Page, row: dict, problem: Sentence | None) -> str:
    """Which model it is, whose adapter it holds, and why it cannot be switched."""
    merged = page.store.adapter(lineage.merged_adapter(row["card"]) or "")
    found = facts(
        [
            (page.t("Model"), row["name"]),
            (page.t("Holds"), merged["name"] if merged else "–"),
            (page.t("Base model"), str(row["card"].get("base", "?"))),
        ]
    )
    return found + (note(page.say(problem), "bad") if problem else "")


def switch_html(page: Page) -> str:
    """What the newest switch is doing, or has measured."""
    job = next(iter(page.store.jobs(kind="switch")[-1:]), None)
    if job is None or job["state"] != "done":
        return state_html(page, "switch")
    return note(
        page.t(
            "Done: {count} tensors are those of a fresh merge, bit for bit. Subtracting the old adapter would have "
            "left errors of up to {drift} in the base model's weights.",
            count=job["result"]["changed"],
            drift=f"{job['result']['drift']:.2g}",
        ),
        "good",
    )


def start_switch(page: Page, model: str, adapter: str | None) -> int:
    """Queue the job; returns its id. Raises StudioError where the two do not fit."""
    row, new = page.store.adapter(model), page.store.adapter(adapter or "")
    if row is None or new is None:
        raise StudioError("Choose an adapter for the new task.")
    if problem := jobs.switch_refusal(row["card"], new["id"], new["card"], new["name"]):
        raise StudioError(problem)
    return client.start_job(page.store, "switch", {"model": model, "adapter": new["id"]})

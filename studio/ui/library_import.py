"""Panel of the Library tab that imports an adapter from a zip, a folder of this machine or the Hub.

The checks are `studio.library.importing`'s, in a job; this module shows its progress and outcome.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from studio.jobs import client
from studio.models.resolve import is_hub_id
from studio.ui.html_parts import Board, button, note
from studio.ui.page import Page
from studio.words import StudioError


def build(page: Page):
    """Create the panel, collapsed; return a function that binds its event handlers."""
    with gr.Accordion(page.t("Import an adapter"), open=False, elem_id="library-import"):
        gr.HTML(
            f'<p class="help">{page.t("In peft’s format, with safetensors weights. Its files are checked first.")}</p>',
            apply_default_css=False,
        )
        with gr.Row(equal_height=True):
            file = gr.File(label=page.t("A zip"), file_types=[".zip"], height=120, min_width=240, elem_id="import-file")
            with gr.Column(min_width=280):
                place = gr.Textbox(
                    label=page.t("Or a folder on this machine, or a hub id"),
                    placeholder="owner/name",
                    elem_id="import-place",
                )
                base = gr.Textbox(
                    label=page.t("Base model (only if the adapter does not say)"),
                    placeholder="starter",
                    elem_id="import-base",
                )
        start = gr.Button(page.t("Import"), variant="primary", elem_id="import-start")
        state = Board(elem_id="import-state")
        job = gr.Textbox(visible="hidden", elem_id="import-job")
        timer = gr.Timer(1.0, active=False)

    def bind():
        def begin(upload: str | None, text: str, named: str):
            job_id = client.start_job(page.store, "import", payload(upload, text, named))
            return str(job_id), state_html(page, job_id), gr.Timer(active=True)

        def watch(job_id: str):
            row = page.store.job(int(job_id)) if job_id else None
            live = bool(row and row["state"] in ("queued", "running"))
            done = gr.skip() if live else page.stamp("library")
            cleared = gr.update(value=None) if row and row["state"] == "done" else gr.skip()
            return state_html(page, int(job_id or 0)), gr.Timer(active=live), done, cleared, cleared

        def stop(event: gr.EventData):
            client.stop(page.store, int(event.item))

        changed = page.parts["library-changed"]
        for event in (start.click, place.submit):
            page.on(event, begin, [file, place, base], [job, state, timer], changes=True)
        page.on(timer.tick, watch, job, [state, timer, changed, file, place], changes=True)
        page.on(state.click, stop, None, None, changes=True)

    return bind


def payload(upload: str | None, place: str | None, base: str | None) -> dict:
    """Return the payload of the `import` job. Raises StudioError if neither a file nor a place is given."""
    place, base = (place or "").strip(), (base or "").strip() or None
    if upload:
        return {"source": "zip", "place": str(upload), "title": Path(upload).name, "base": base}
    if not place:
        raise StudioError("Choose a zip, or name a folder or a hub id, to import.")
    return {"source": "hub" if is_hub_id(place) else "folder", "place": place, "base": base}


def state_html(page: Page, job_id: int) -> str:
    """Return what the import does now, with a button to stop it, or how it ended."""
    row = page.store.job(job_id)
    if row is None:
        return ""
    if row["state"] in ("queued", "running"):
        doing = note(page.say(row["doing"]) or page.t("Waiting for a worker"))
        return doing + button(page.t("Stop"), "stop", str(job_id))
    if row["state"] == "done":
        return note(page.t("'{name}' is in the library now.", name=row["result"]["name"]), "good")
    if row["state"] == "stopped":
        return note(page.t("The import was stopped; nothing was added."))
    return note(page.say(row["reason"]), "bad")

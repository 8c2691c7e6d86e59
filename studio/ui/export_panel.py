"""Panel of the Library that exports an adapter: target, options, progress, result, and the exports made so far.

The exports are written and proven by `studio.export`; this module only displays them.
"""

from __future__ import annotations

from functools import partial

import gradio as gr

from studio.export import outputs, token_handover
from studio.export.source import Source, find_source
from studio.export.targets import TARGETS, require_target
from studio.jobs import client
from studio.options import join
from studio.ui.downloads import TAKE
from studio.ui.export_view import compatibility_html, past_html, progress_html, targets_html
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, e
from studio.ui.library_panel import Opened
from studio.ui.page import Page
from studio.words import StudioError

NAME = "export"
"""The panel's name in `Opened`."""
TITLE = "Export…"
_ACTIVE = ("queued", "running")


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers."""
    with gr.Column(visible=False, elem_id="export-panel") as panel:
        head = Board(elem_id="export-head")
        targets = Board(elem_id="export-targets")
        form = OptionForm(language=page.language, elem_id="export-options", visible=False)
        token = gr.Textbox(
            label=page.t("Token of the Hub"),
            info=page.t(
                "It is used for this upload only, and never stored. Empty: the one this machine is logged in with."
            ),
            type="password",
            visible=False,
            elem_id="export-token",
        )
        with gr.Row(elem_id="export-buttons"):
            start = gr.Button(page.t("Export"), variant="primary", interactive=False, elem_id="export-start")
            stop = gr.Button(page.t("Cancel"), visible=False, elem_id="export-stop")
        state = gr.HTML(elem_id="export-state", apply_default_css=False)
        past = Board(elem_id="exports")
        programs = gr.HTML(elem_id="export-programs", apply_default_css=False)
    file = gr.DownloadButton("file", visible="hidden", elem_id="export-file")
    chosen = gr.Textbox(visible="hidden", elem_id="export-chosen")
    timer = gr.Timer(1.0, active=False)

    def bind():
        opened = page.parts["library-opened"]
        whole = [panel, head, targets, form, token, start, chosen, past, programs, timer]
        live = [state, stop, past, timer]
        page.on(opened.change, partial(open_panel, page), opened, whole, changes=True).then(
            None, None, None, js=_SCROLL
        )
        page.on(head.click, lambda: "", None, opened, changes=True)

        def pick(at: str, event: gr.EventData) -> list:
            return choose(page, form, at, event.item)

        def press(at: str, event: gr.EventData) -> list:
            return act(page, at, event.act, event.item)

        page.on(targets.click, pick, opened, [targets, form, token, start, chosen], changes=True)
        page.on(form.input, partial(complain, form), [form, chosen], form, changes=True)
        page.on(start.click, partial(begin, page), [opened, chosen, form, token], [token, *live], changes=True)
        page.on(stop.click, partial(cancel, page), opened, live, changes=True)
        for event in (timer.tick, opened.change):
            page.on(event, partial(look, page), opened, live, changes=True)
        pressed = page.on(past.click, press, opened, [file, past], changes=True)
        pressed.then(None, file, None, js=TAKE)

    return bind


_SCROLL = "() => { document.querySelector('#export-panel')?.scrollIntoView({ block: 'start' }); return []; }"


def source_of(page: Page, opened: str) -> Source | None:
    """The adapter that the panel is open for; None if it is closed."""
    at = Opened.parse(opened)
    return find_source(page.home, page.store, at.adapters[0]) if at.panel == NAME and at.adapters else None


def open_panel(page: Page, opened: str) -> list:
    """Show the panel for the adapter in `opened`, or hide it; nothing is chosen yet."""
    source = source_of(page, opened)
    if source is None:
        return [gr.update(visible=False), *[gr.skip()] * 8, gr.Timer(active=False)]
    outputs.sweep(page.home, page.store)
    about = page.t("Each export is read back and compared with the adapter before it is listed.")
    head = (
        f'<div class="run-head"><h3>{e(page.t("Export “{name}”", name=source.name))}</h3>'
        f'<button type="button" class="small-button" data-act="close">{e(page.t("Close"))}</button></div>'
        f'<p class="help">{e(about)}</p>'
    )
    return [
        gr.update(visible=True),
        head,
        targets_html(page, source, ""),
        gr.update(visible=False),
        gr.update(visible=False, value=""),
        gr.update(interactive=False),
        "",
        past_html(page, source.adapter_id),
        compatibility_html(page, source),
        gr.Timer(active=True),
    ]


def choose(page: Page, form: OptionForm, opened: str, key: str) -> list:
    """Show the options of the target `key`; returns updates of [targets, form, token, start, chosen]."""
    source, target = source_of(page, opened), require_target(key)
    if source is None or target.refusal(source):
        return [gr.skip()] * 5
    return [
        targets_html(page, source, target.key),
        {**form.show(target.options), "visible": bool(target.options.model_fields)},
        gr.update(visible=target.publishes, value=""),
        gr.update(interactive=True),
        target.key,
    ]


def complain(form: OptionForm, raw: dict, chosen: str) -> dict:
    """Show what is wrong with the options while they are edited."""
    return form.complain(form_values(raw, TARGETS[chosen].options)[1]) if chosen in TARGETS else gr.skip()


def begin(page: Page, opened: str, chosen: str, raw: dict, token: str) -> list:
    """Queue the export; returns updates of the token field and of what `look` returns."""
    source = source_of(page, opened)
    if source is None:
        return [gr.skip()] * 5
    target = require_target(chosen)
    options, wrong = form_values(raw, target.options)
    if wrong:
        raise StudioError(join(list(wrong.values())))
    payload = {"adapter": source.adapter_id, "target": target.key, "options": options.model_dump(mode="json")}
    if target.publishes and token.strip():
        payload |= token_handover.offer(token.strip())
    client.start_job(page.store, "export", payload)
    return ["", *look(page, opened)]


def cancel(page: Page, opened: str) -> list:
    """Ask the export that the panel shows to stop."""
    job = newest_job(page, opened)
    if job and job["state"] in _ACTIVE:
        client.stop(page.store, job["id"])
    return look(page, opened)


def newest_job(page: Page, opened: str) -> dict | None:
    """The export job of the adapter that is shown: the one at work, else the first that waits, else the last ended."""
    source = source_of(page, opened)
    jobs = page.store.jobs(kind="export") if source else []
    ours = [job for job in jobs if job["payload"].get("adapter") == source.adapter_id]
    for state in ("running", "queued"):
        if found := [job for job in ours if job["state"] == state]:
            return found[0]
    return ours[-1] if ours else None


def look(page: Page, opened: str) -> list:
    """Return updates of [state, stop button, past exports, timer]."""
    source, job = source_of(page, opened), newest_job(page, opened)
    if source is None:
        return [gr.skip(), gr.skip(), gr.skip(), gr.Timer(active=False)]
    active = job is not None and job["state"] in _ACTIVE
    past = past_html(page, source.adapter_id)
    return [progress_html(page, job), gr.update(visible=active), past, gr.Timer(active=True)]


def act(page: Page, opened: str, what: str, item: str) -> list:
    """Download a file of a finished export, or delete the export; returns updates of [file, past exports]."""
    source = source_of(page, opened)
    if source is None:
        return [gr.skip(), gr.skip()]
    if what == "delete":
        outputs.delete(page.home, item)
        return [gr.update(value=None), past_html(page, source.adapter_id)]
    export_id, _, name = item.partition("/")
    return [gr.update(value=str(outputs.file_path(page.home, export_id, name))), gr.skip()]

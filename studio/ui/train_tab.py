"""The Train tab: start, pause, stop, resume; progress and curves; answers, log, checkpoints, queue and past runs.

Everything shown is read from the store by a timer once per second, so all windows show the same state; no update is
sent while nothing changes. This module contains no training code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr

from studio.diagnosis import bug_report
from studio.jobs import client
from studio.ui import device_picker, queue_panel, results, run_comparison
from studio.ui.access import TOPICS, require_owner, seen_by
from studio.ui.checkpoint_panel import CheckpointPanel
from studio.ui.diagnosis_panel import diagnosis_html, mended, start_mended
from studio.ui.downloads import TAKE, adapter_zip, fresh_folder
from studio.ui.html_parts import Board, e, skeleton
from studio.ui.live_plot import LivePlot
from studio.ui.page import Page
from studio.ui.pulse import Pulse
from studio.ui.recent import Recent
from studio.ui.run_log import RunLog, more, samples_html
from studio.ui.run_report import write_report
from studio.ui.run_status import LIVE, can_resume, status_html
from studio.ui.strategy_panel import adapted_html
from studio.words import StudioError

_LOOK = 1.0  # seconds between two looks for what has changed
_FRESH = 0.5  # seconds for which what was drawn is good for all viewers


class Drawn(NamedTuple):
    """What the tab shows of a run.

    live: devices, status and list of runs, which change with every step. rest: revision of all runs, answers and
    checkpoints. can: what pause, stop, resume and longer can do now.
    """

    live: tuple[str, str, str]
    rest: tuple[str, str, str]
    can: tuple[bool, bool, bool, bool]

    @property
    def stamps(self) -> dict[str, str]:
        """Event of the pulse → hash of what its handler draws."""
        return {"tick": _hash(self.live), "select": _hash((self.rest, self.can))}

    def updates_of_rest(self) -> list:
        *buttons, longer = self.can
        changed, samples, checkpoints = self.rest
        buttons = [gr.update(interactive=interactive) for interactive in (True, *buttons)]
        return [changed, *buttons, samples, checkpoints, gr.Row(visible=longer)]


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.follow_draft("train")
    parts = page.parts
    devices = Board(elem_id="devices")
    with gr.Row(elem_id="train-buttons"):
        start = gr.Button(page.t("Start"), variant="primary", elem_id="start")
        pause = gr.Button(page.t("Pause"), interactive=False, elem_id="pause")
        stop = gr.Button(page.t("Stop"), variant="stop", interactive=False, elem_id="stop")
        resume = gr.Button(page.t("Resume"), interactive=False, elem_id="resume")
    gr.HTML(notices_button(page), elem_id="notices", apply_default_css=False)
    status = Board(skeleton(64), elem_id="status")
    parts["plot"] = LivePlot(page.feed, folder=page.home.run, language=page.language, elem_id="plots")
    with gr.Accordion(page.t("Answers to the fixed prompts"), open=True):
        samples = gr.HTML(elem_id="samples", apply_default_css=False)
    changed = gr.Textbox(visible="hidden", label=page.t("State"), elem_id="runs-changed")
    bind_results = results.build(page, changed)
    kept = CheckpointPanel(page)
    with gr.Accordion(page.t("Run log"), open=False, elem_id="log-part"):
        log = RunLog(language=page.language, elem_id="log")
    with gr.Accordion(page.t("Queue and past runs"), open=True):
        runs = Board(elem_id="runs")
    bind_comparison = run_comparison.build(page, changed)
    file = gr.DownloadButton("file", visible="hidden", elem_id="train-file")
    drawn = Recent(lambda run, topics: draw(page, kept, run, topics), _FRESH)
    pulse = Pulse(lambda run: drawn(run, tuple(TOPICS)).stamps, seconds=_LOOK, elem_id="train-pulse")
    live, rest = [devices, status, runs], [changed, start, pause, stop, resume, samples, *kept.outputs]

    def bind():
        bind_results()
        bind_comparison()
        kept.bind()

        bind_buttons(page, start, pause, stop, resume)
        bind_log(page, log)

        def look(run, profile: gr.OAuthProfile | None):
            return list(drawn(run, tuple(seen_by(profile, page.store))).live)

        def look_at_rest(run, profile: gr.OAuthProfile | None):
            return drawn(run, tuple(seen_by(profile, page.store))).updates_of_rest()

        def another(run, profile: gr.OAuthProfile | None):
            now = draw(page, kept, run, seen_by(profile, page.store))
            return [run, run, *now.live, *now.updates_of_rest()]

        page.on(page.run.change, another, page.run, [parts["plot"], pulse, *live, *rest])
        page.on(pulse.tick, look, page.run, live)
        page.on(pulse.select, look_at_rest, page.run, rest)

        def choose_device(event: gr.EventData):
            return device_picker.choose(page, event.item)

        page.on(devices.click, choose_device, None, page.changed, changes=True)

        def in_queue(event: gr.EventData, profile: gr.OAuthProfile | None):
            if event.act == "run":
                return event.item
            require_owner(profile, page.language)
            shown = queue_panel.on_press(page, event.act, event.item)
            return gr.skip() if shown is None else shown

        page.on(runs.click, in_queue, None, page.run)

        def press(run, event: gr.EventData, profile: gr.OAuthProfile | None):
            return on_press(page, run, event, profile)

        pressed = page.on(status.click, press, page.run, [page.run, page.tabs, page.changed, file])
        pressed.then(None, file, None, js=TAKE)

    return bind


def bind_log(page: Page, log: RunLog) -> None:
    def more_log(run, event: gr.EventData):
        found = more(page, run, event)
        return gr.skip() if found is None else found

    page.on(log.click, more_log, page.run, log, shows="logs")


def bind_buttons(page: Page, start: gr.Button, pause: gr.Button, stop: gr.Button, resume: gr.Button) -> None:
    """Bind the four buttons that start a run and steer the one on the page."""

    def pressed_start():
        return page.editor.start(), gr.update(interactive=False)

    page.on(start.click, pressed_start, None, [page.run, start], changes=True)
    page.on(pause.click, lambda run: on_request(page, run, "pause"), page.run, pause, changes=True)
    page.on(stop.click, lambda run: on_request(page, run, "stop"), page.run, stop, changes=True)
    page.on(resume.click, lambda run: on_resume(page, run), page.run, resume, changes=True)


def notices_button(page: Page) -> str:
    """Return the button that asks the browser for leave to show a notice when a run ends; see run_news.js."""
    return (
        f'<p class="actions"><button type="button" class="small-button" data-notices aria-pressed="false" hidden>'
        f"{e(page.t('Notify me when a run ends'))}</button>"
        f'<span class="help" role="status" data-refused="'
        f'{e(page.t("This browser refuses notices for this page; allow them in its settings."))}"></span></p>'
    )


def on_press(page: Page, run_id: str, event: gr.EventData, profile: gr.OAuthProfile | None) -> tuple:
    """Carry out a button of the status; returns updates of (run, tabs, changed, file)."""
    act, item = event.act, event.item
    run, tabs, changed, path = gr.skip(), gr.skip(), gr.skip(), None
    if act == "chat":
        tabs, changed = gr.Tabs(selected="chat"), page.stamp(f"chat {run_id}")
    elif act == "library":
        tabs = gr.Tabs(selected="library")
    else:
        require_owner(profile, page.language)
    if act == "download":
        path = str(adapter_zip(page, item))
    elif act == "report":
        path = str(write_report(page, item))
    elif act == "bug":
        path = str(bug_report.write(page.home, page.store, item, fresh_folder(page.home)))
    elif act in ("finish", "discard"):
        on_request(page, item, act)
    elif act == "again":
        run = client.start_again(page.store, item)
    elif act == "mend":
        run = start_mended(page, page.store.run(run_id), int(item))
    elif act == "mend-draft":
        page.editor.change(**mended(page, page.store.run(run_id), int(item)).to_dict())
        tabs, changed = gr.Tabs(selected="hyperparameters"), page.stamp("recipe")
    elif act == "recipe":
        page.editor.change(**(page.store.run(item) or {"recipe": {}})["recipe"])
        tabs, changed = gr.Tabs(selected="hyperparameters"), page.stamp("recipe")
    return run, tabs, changed, gr.update(value=path)


def on_request(page: Page, run_id: str, verb: str):
    """Send "pause", "stop", "finish" or "discard" to the run."""
    run = page.store.run(run_id)
    if not run or run["state"] not in LIVE:
        raise StudioError("There is nothing to stop: this run is not running.")
    client.request(page.store, run["job_id"], verb)
    return gr.update(interactive=False)


def on_resume(page: Page, run_id: str):
    client.resume_run(page.store, run_id)
    return gr.update(interactive=False)


def draw(page: Page, kept: CheckpointPanel, run_id: str, topics: Sequence[str]) -> Drawn:
    """Draw everything that the tab shows of a run.

    topics: what may be shown, keys of `access.TOPICS`. Of logs and answers nothing is read where it may not.
    """
    store, logs = page.store, "logs" in topics
    run = store.run(run_id) if run_id else None
    run = run if run is None or logs else {**run, "reason": None}
    plan = latest(store.events(run_id, kind="plan", limit=1)) if run else None
    answered = store.events(run_id, kind="sample", limit=64) if run and "answers" in topics else []
    live = bool(run and run["state"] in LIVE)
    request = store.latest_request(run["job_id"]) if live else None
    listing, can_be_longer = kept.view(run)
    return Drawn(
        live=(
            device_picker.devices_html(page),
            status_html(page, run, plan, request, diagnosis_html(page, run) + adapted_html(page, run) if logs else ""),
            queue_panel.runs_html(page, run_id),
        ),
        rest=(str(store.revision("runs")), samples_html(page, answered), listing),
        can=(live and not request, live and request in (None, "finish"), bool(run and can_resume(run)), can_be_longer),
    )


def _hash(shown: tuple) -> str:
    return hashlib.sha1(json.dumps(shown).encode()).hexdigest()[:12]


def latest(events: list[dict]) -> dict | None:
    return events[-1]["data"] if events else None

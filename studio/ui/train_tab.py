"""The Train tab: start, stop, resume; progress and curves; answers, log, queue and past runs.

Everything shown is read from the store by a timer once per second, so all windows show the same state; no update is
sent while nothing changes. This module contains no training code.
"""

from __future__ import annotations

import hashlib
import json
import time

import gradio as gr

from studio.forecast import duration
from studio.jobs import client
from studio.ui import results
from studio.ui.access import require_owner
from studio.ui.classes import baseline_sentence, matrices_html
from studio.ui.downloads import TAKE, adapter_zip
from studio.ui.html_parts import Board, button, chip, e, facts, folded, note, number, skeleton
from studio.ui.live_plot import LivePlot
from studio.ui.page import Page
from studio.ui.run_report import write_report
from studio.words import StudioError

_STATES = {"queued": "Waiting", "running": "Running", "done": "Done", "stopped": "Stopped", "failed": "Failed"}
_KINDS = {"queued": "warn", "running": "busy", "done": "good", "stopped": "", "failed": "bad"}
_SHOWN_RUNS, _SHOWN_LINES = 20, 60


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    parts = page.parts
    with gr.Row(elem_id="train-buttons"):
        start = gr.Button(page.t("Start"), variant="primary", elem_id="start")
        stop = gr.Button(page.t("Stop"), variant="stop", interactive=False, elem_id="stop")
        resume = gr.Button(page.t("Resume"), interactive=False, elem_id="resume")
    status = Board(skeleton(64), elem_id="status")
    parts["plot"] = LivePlot(page.feed, language=page.language, elem_id="plots")
    with gr.Accordion(page.t("Answers to the fixed prompts"), open=True):
        samples = gr.HTML(elem_id="samples", apply_default_css=False)
    seen = gr.Textbox(visible="hidden", label=page.t("State"), elem_id="train-seen")
    bind_results = results.build(page, seen)
    with gr.Accordion(page.t("Log"), open=False):
        log = gr.HTML(elem_id="log", apply_default_css=False)
    with gr.Accordion(page.t("Queue and past runs"), open=True):
        runs = Board(elem_id="runs")
    file = gr.DownloadButton("file", visible="hidden", elem_id="train-file")
    timer = gr.Timer(1.0)
    outputs = [seen, start, stop, resume, status, samples, log, runs]

    def bind():
        bind_results()

        def pressed_start():
            return page.desk.start(), gr.update(interactive=False)

        page.on(start.click, pressed_start, None, [page.run, start], changes=True)
        page.on(stop.click, lambda run: on_stop(page, run), page.run, stop, changes=True)
        page.on(resume.click, lambda run: on_resume(page, run), page.run, resume, changes=True)
        page.on(page.run.change, lambda run: [run, *view(page, run, "")], page.run, [parts["plot"], *outputs])
        page.on(timer.tick, lambda run, before: view(page, run, before), [page.run, seen], outputs)

        def choose(event: gr.EventData):
            return event.item

        page.on(runs.click, choose, None, page.run)

        def press(run, event: gr.EventData, profile: gr.OAuthProfile | None):
            if event.act == "chat":
                return gr.Tabs(selected="chat"), page.stamp(f"chat {run}"), gr.update(value=None)
            if event.act in ("download", "report"):
                require_owner(profile, page.language)
                path = adapter_zip(page, event.item) if event.act == "download" else write_report(page, event.item)
                return gr.skip(), gr.skip(), gr.update(value=str(path))
            return (
                (gr.Tabs(selected="library") if event.act == "library" else gr.skip()),
                gr.skip(),
                gr.update(value=None),
            )

        pressed = page.on(status.click, press, page.run, [page.tabs, page.changed, file])
        pressed.then(None, file, None, js=TAKE)

    return bind


def on_stop(page: Page, run_id: str):
    run = page.store.run(run_id)
    if not run or run["state"] not in ("queued", "running"):
        raise StudioError("There is nothing to stop: this run is not running.")
    client.stop(page.store, run["job_id"])
    return gr.update(interactive=False)


def on_resume(page: Page, run_id: str):
    client.resume_run(page.store, run_id)
    return gr.update(interactive=False)


def view(page: Page, run_id: str, before: str) -> list:
    """Return updates of everything the tab shows of a run; all are skipped if its hash still equals `before`."""
    store = page.store
    run = store.run(run_id) if run_id else None
    plan = latest(store.events(run_id, kind="plan", limit=1)) if run else None
    lines = store.events(run_id, kind="log", limit=_SHOWN_LINES) if run else []
    traceback = latest(store.events(run_id, kind="traceback", limit=1)) if run else None
    answered = store.events(run_id, kind="sample", limit=64) if run else []
    shown = [
        status_html(page, run, plan),
        samples_html(page, answered),
        log_html(page, lines, traceback, run),
        runs_html(page, run_id),
    ]
    live = bool(run and run["state"] in ("queued", "running"))
    asked = bool(live and store.commands(run["job_id"], "stop"))
    can = (live and not asked, bool(run and run["state"] in ("stopped", "failed")))
    now = hashlib.sha1(json.dumps([shown, can]).encode()).hexdigest()[:12]
    if now == before:
        return [gr.skip()] * 8
    return [now, gr.update(interactive=True), gr.update(interactive=can[0]), gr.update(interactive=can[1]), *shown]


def latest(events: list[dict]) -> dict | None:
    return events[-1]["data"] if events else None


def status_html(page: Page, run: dict | None, plan: dict | None) -> str:
    """Return the state of the run, its progress, and its results when it is done."""
    if run is None:
        return note(
            page.t("No run yet. Choose data and a method, then press Start: the sentence above says what will happen.")
        )
    state = run["state"]
    head = f'<div class="run-head"><h3>{e(run["name"])}</h3>{chip(page.t(_STATES[state]), _KINDS[state])}</div>'
    doing = (
        page.say(run["doing"])
        if state == "running"
        else page.t("Waiting for the device to be free")
        if state == "queued"
        else ""
    )
    reason = note(page.say(run["reason"]), "bad") if run["reason"] else ""
    if state == "done":
        below = _done_html(page, run)
    elif state in ("failed", "stopped"):
        below = f'<p class="actions">{_report_button(page, run)}</p>'
    else:
        below = ""
    return head + progress_html(page, run, plan, doing) + reason + below


def _report_button(page: Page, run: dict) -> str:
    return button(page.t("Download report"), "report", run["id"])


def progress_html(page: Page, run: dict, plan: dict | None, doing: str) -> str:
    """Return a progress bar with the step count and the remaining time."""
    step, steps = run["step"] or 0, (plan or {}).get("steps", 0)
    share = min(1.0, step / steps) if steps else 0.0
    message = page.t("Step {step} of {steps}", step=f"{step:,}", steps=f"{steps:,}") if steps else ""
    left = time_left(page, run, steps) if run["state"] == "running" else None
    tail = page.t("about {time} left", time=page.say(duration(left))) if left is not None else ""
    words = " · ".join(part for part in (doing, message, tail) if part)
    return (
        f'<div class="progress" role="progressbar" aria-label="{e(page.t("Progress"))}" aria-valuemin="0" '
        'aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><span style="width:{share * 100:.1f}%"></span></div>'
        f'<p class="progress-words">{e(words)}</p>'
    )


def time_left(page: Page, run: dict, steps: int) -> float | None:
    """Estimate the seconds to the last step from the pace of recent steps of this attempt.

    Returns None while fewer than three steps have been recorded.
    """
    last = page.store.last_metric_id(run["id"])
    rows = [
        row
        for row in page.store.metrics(run["id"], after=max(0, last - 60))
        if "seconds" in row["values"] and row["time"] > (run["started"] or 0)
    ]
    if len(rows) < 3 or not steps:
        return None
    pace = (rows[-1]["time"] - rows[0]["time"]) / max(1, rows[-1]["step"] - rows[0]["step"])
    return max(0, steps - rows[-1]["step"]) * pace


def _done_html(page: Page, run: dict) -> str:
    """Return the results of a finished run, each as base model → fine-tuned model."""
    metrics = (run["result"] or {}).get("metrics", {})
    pairs = []
    for key, title in (
        ("preferred", "Better answer preferred"),
        ("correct", "Accuracy on the validation set"),
        ("macro_f1", "Macro F1"),
        ("exact_match", "Exact match on the validation set"),
        ("eval_loss", "Validation loss"),
        ("perplexity", "Perplexity"),
    ):
        if key in metrics:
            before, after = metrics.get(f"base_{key}"), metrics[key]
            form = (
                (lambda value: f"{value:.0%}") if key in ("preferred", "exact_match", "correct", "macro_f1") else number
            )
            pairs.append((page.t(title), f"{form(before)} → {form(after)}" if before is not None else form(after)))
    pairs.append((page.t("Time"), page.say(duration((run["ended"] or 0) - (run["started"] or 0)))))
    adapter = (run["result"] or {}).get("adapter")
    next_steps = (
        button(page.t("Try it in Chat"), "chat", kind="primary")
        + (button(page.t("Download adapter"), "download", adapter) if adapter else "")
        + _report_button(page, run)
        + button(page.t("See it in the Library"), "library")
    )
    classes = (
        f'<p class="help">{e(baseline_sentence(page, metrics))}</p>{matrices_html(page, metrics["classes"])}'
        if "classes" in metrics
        else ""
    )
    return facts(pairs) + classes + f'<p class="actions">{next_steps}</p>'


def samples_html(page: Page, events: list[dict]) -> str:
    """Return, for each fixed prompt, the expected answer and the model's answers, newest first."""
    if not events:
        return note(page.t("At each evaluation the model answers a few validation prompts; what it says appears here."))
    prompts: dict[str, list[dict]] = {}
    for event in events:
        prompts.setdefault(event["data"]["prompt"], []).append(event["data"])
    blocks = []
    for prompt, answers in prompts.items():
        text = "".join(
            (
                f'<li><span class="step">{page.t("step {step}", step=item["step"])}</span>'
                f' <span class="{"right" if item["answer"].strip() == item["expected"].strip() else ""}">'
                f"{folded(item['answer'])}</span></li>"
            )
            for item in reversed(answers)
        )
        blocks.append(
            f'<div class="sample"><p class="prompt">{e(prompt)}</p><p class="expected">'
            f"{e(page.t('Expected answer'))}: {e(answers[0]['expected'])}</p><ul>{text}</ul></div>"
        )
    return f'<div class="samples">{"".join(blocks)}</div>'


def log_html(page: Page, lines: list[dict], traceback: dict | None, run: dict | None) -> str:
    """Return the log of the run; for a failed run also the traceback, collapsed."""
    message = [
        f"{time.strftime('%H:%M:%S', time.localtime(event['time']))}  {page.say(event['data'])}" for event in lines
    ]
    if run and run["started"]:
        message.insert(
            0,
            f"{time.strftime('%H:%M:%S', time.localtime(run['started']))}  "
            f"{page.t('Started on {device}.', device=run['device'])}",
        )
    text = f'<pre class="log" tabindex="0">{e(chr(10).join(message)) or e(page.t("Nothing yet."))}</pre>'
    if traceback and run and run["state"] == "failed":
        text += (
            f'<details><summary>{e(page.t("Full report"))}</summary><pre class="log" tabindex="0">'
            f"{e(traceback['text'])}</pre></details>"
        )
    return text


def runs_html(page: Page, current: str) -> str:
    """Return queued, running and past runs as buttons; a click on one shows it."""
    rows = []
    for run in page.store.runs(_SHOWN_RUNS):
        here = ' aria-current="true"' if run["id"] == current else ""
        measured = (run["result"] or {}).get("metrics") or {}
        best = measured.get("exact_match", measured.get("preferred", measured.get("correct")))
        tail = f"{best:.0%}" if best is not None else ""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"]))
        rows.append(
            f'<li><button type="button" data-act="run" data-item="{e(run["id"])}"{here}><span class="name">'
            f"{e(run['name'])}</span>"
            f'{chip(page.t(_STATES[run["state"]]), _KINDS[run["state"]])}<span class="when">{e(when)}</span>'
            f'<span class="result">{tail}</span></button></li>'
        )
    return f'<ul class="runs">{"".join(rows)}</ul>' if rows else note(page.t("No runs yet."))

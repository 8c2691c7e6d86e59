"""The state of a run as HTML: what it does, how far it is, its results, and what can be done with it now."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from studio.forecast import duration
from studio.jobs import processes
from studio.ui.classes import baseline_sentence, matrices_html
from studio.ui.html_parts import button, chip, e, facts, note, number
from studio.ui.page import Page

STATES = {
    "queued": "Waiting",
    "running": "Running",
    "done": "Done",
    "stopped": "Stopped",
    "paused": "Paused",
    "failed": "Failed",
}
_KINDS = {"queued": "warn", "running": "busy", "done": "good", "stopped": "", "paused": "warn", "failed": "bad"}
_PACE_ROWS = 60  # newest metrics from which the pace is estimated
_BLOCKS = 8  # of these rows, whose paces are compared
LIVE = ("queued", "running")
RESUMABLE = ("stopped", "paused", "failed")


def state_title(page: Page, state: str) -> str:
    return page.t(STATES[state])


def state_chip(page: Page, state: str) -> str:
    return chip(state_title(page, state), _KINDS[state])


def can_resume(run: dict) -> bool:
    """Whether the run can go on: it has ended before its time, and its checkpoints were not discarded."""
    return run["state"] in RESUMABLE and not (run["result"] or {}).get("discarded")


def status_html(page: Page, run: dict | None, plan: dict | None, request: str | None = None, findings: str = "") -> str:
    """Return the state of the run, its progress, its results when it is done, and what can be done with it.

    request: to a live run that has not obeyed yet. findings: HTML of the diagnosis, shown below the reason.
    """
    if run is None:
        return note(
            page.t("No run yet. Choose data and a method, then press Start: the sentence above says what will happen.")
        )
    state = run["state"]
    head = f'<div class="run-head"><h3>{e(run["name"])}</h3>{state_chip(page, state)}</div>'
    reason = note(page.say(run["reason"]), "bad" if state == "failed" else "warn") if run["reason"] else ""
    below = _done_html(page, run) if state == "done" else ""
    actions = _live_actions(page, run, request) if state in LIVE else _actions_after(page, run)
    return (
        head
        + progress_html(page, run, plan, _doing(page, run, request))
        + reason
        + findings
        + below
        + f'<p class="actions">{actions}</p>'
    )


def _doing(page: Page, run: dict, request: str | None) -> str:
    job = page.store.job(run["job_id"]) if run["state"] == "running" else None
    if job and processes.is_suspended(job["pid"], job["pid_created"]):
        return page.t("Its worker was suspended; it goes on after: kill -CONT {pid}", pid=job["pid"])
    if request and run["state"] in LIVE:
        return page.t(
            {"pause": "Pausing: the checkpoint is being saved", "finish": "Ending: the adapter is being made"}.get(
                request, "Stopping"
            )
        )
    if run["state"] == "running":
        return page.say(run["doing"])
    if run["state"] == "queued":
        return page.t("Waiting for the device to be free")
    if run["state"] == "paused":
        return page.t("Paused: the device is free for others; Resume goes on from here")
    return ""


def _live_actions(page: Page, run: dict, request: str | None) -> str:
    if request or run["state"] == "queued":
        return ""
    return button(page.t("Stop and make the adapter"), "finish", run["id"]) + button(
        page.t("Stop and discard"),
        "discard",
        run["id"],
        kind="danger",
        confirm=page.t("Stop this run and delete its checkpoints? It cannot be resumed then."),
    )


def _actions_after(page: Page, run: dict) -> str:
    adapter = (run["result"] or {}).get("adapter")
    done = (
        button(page.t("Try it in Chat"), "chat", kind="primary")
        + (button(page.t("Download adapter"), "download", adapter) if adapter else "")
        + button(page.t("See it in the Library"), "library")
        if run["state"] == "done"
        else ""
    )
    return (
        done
        + button(page.t("Download report"), "report", run["id"])
        + button(page.t("Bug report (zip)"), "bug", run["id"])
        + button(page.t("Change it and start again"), "recipe", run["id"])
        + button(page.t("Run it again"), "again", run["id"])
    )


def progress_html(page: Page, run: dict, plan: dict | None, doing: str) -> str:
    """Return a progress bar with the step count and the remaining time."""
    step, steps = run["step"] or 0, (plan or {}).get("steps", 0)
    share = min(1.0, step / steps) if steps else 0.0
    message = page.t("Step {step} of {steps}", step=f"{step:,}", steps=f"{steps:,}") if steps else ""
    recent = recent_steps(page, run) if run["state"] == "running" else []
    left = time_left(recent, steps)
    words = " · ".join(part for part in (doing, message, _left(page, left)) if part)
    return (
        f'<div class="progress" role="progressbar" aria-label="{e(page.t("Progress"))}" aria-valuemin="0" '
        'aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><span style="width:{share * 100:.1f}%"></span></div>'
        f'<p class="progress-words">{e(words)}</p>'
        + (f'<p class="progress-words">{e(seen)}</p>' if (seen := tokens_seen(page, run, recent)) else "")
    )


def recent_steps(page: Page, run: dict) -> list[dict]:
    """The newest metrics of steps of this attempt of the run."""
    rows = page.store.recent_metrics(run["id"], _PACE_ROWS)
    return [row for row in rows if "seconds" in row["values"] and row["time"] > (run["started"] or 0)]


def tokens_seen(page: Page, run: dict, recent: list[dict]) -> str:
    """Say how many tokens the run has learnt from, how many a second lately, and how much of the batches is padding.

    "" before the first step. Pictures are counted in patches and are not padded.
    """
    tokens, positions = page.feed.tokens(run["id"])
    if not tokens:
        return ""
    count = (
        page.t("{count} patches seen", count=f"{tokens:,}")
        if (run["recipe"].get("task") or {}).get("name") == "image"
        else page.t("{count} tokens seen", count=f"{tokens:,}")
    )
    parts = [count]
    seconds = sum(row["values"]["seconds"] for row in recent)
    if seconds:
        speed = sum(row["values"].get("tokens", 0) for row in recent) / seconds
        parts.append(page.t("{count} a second", count=f"{speed:,.0f}"))
    if positions > tokens:
        parts.append(page.t("{share} padding", share=f"{1 - tokens / positions:.0%}"))
    return " · ".join(parts)


class Left(NamedTuple):
    """Seconds to the last step, and how much less or more it may be (about 95 %)."""

    seconds: float
    margin: float


def _left(page: Page, left: Left | None) -> str:
    if left is None:
        return ""
    if left.margin < 1:
        return page.t("about {time} left", time=page.say(duration(left.seconds)))
    return page.t(
        "about {time} left ({least} to {most})",
        time=page.say(duration(left.seconds)),
        least=page.say(duration(max(0.0, left.seconds - left.margin))),
        most=page.say(duration(left.seconds + left.margin)),
    )


def time_left(rows: list[dict], steps: int) -> Left | None:
    """Estimate the time to the last step from the pace of `recent_steps`, evaluations included.

    The margin is twice the standard error of the pace over up to `_BLOCKS` blocks of steps (batch means, since the
    times of neighbouring steps are alike). Returns None while fewer than three steps have been recorded.
    """
    if len(rows) < 3 or not steps:
        return None
    paces = []
    marks = rows[:: max(1, (len(rows) - 1) // _BLOCKS)]
    for before, after in zip(marks, marks[1:], strict=False):
        paces.append((after["time"] - before["time"]) / max(1, after["step"] - before["step"]))
    ahead = max(0, steps - rows[-1]["step"])
    pace = (rows[-1]["time"] - rows[0]["time"]) / max(1, rows[-1]["step"] - rows[0]["step"])
    error = statistics.stdev(paces) / math.sqrt(len(paces)) if len(paces) > 1 else pace
    return Left(ahead * pace, 2 * ahead * error)


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
    classes = (
        f'<p class="help">{e(baseline_sentence(page, metrics))}</p>{matrices_html(page, metrics["classes"])}'
        if "classes" in metrics
        else ""
    )
    return facts(pairs) + classes

"""The queue and the past runs: choose the run to show; move, duplicate and remove waiting runs.

Part of the Train tab.
"""

from __future__ import annotations

import time

from studio.jobs import client
from studio.jobs.queue import MOVES
from studio.ui.html_parts import button, e, note
from studio.ui.page import Page
from studio.ui.run_status import state_chip
from studio.words import StudioError

_SHOWN_RUNS = 20


def on_press(page: Page, act: str, item: str) -> str | None:
    """Carry out a button of the queue; `item` is the job's id. Returns the id of the run to show, if another one."""
    job = page.store.job(int(item))
    if job is None:
        raise StudioError("This run is not waiting any more: it has begun, or it was removed already.")
    if act in MOVES:
        client.move(page.store, job["id"], act)
    elif act == "remove":
        client.remove(page.store, job["id"])
        return (page.store.latest_run() or {"id": ""})["id"] if page.store.run(job["run_id"]) is None else None
    elif act == "duplicate":
        client.start_again(page.store, job["run_id"])
    return None


def runs_html(page: Page, current: str) -> str:
    """Return the waiting runs in their order with buttons, then running and past runs; a click on one shows it."""
    waiting = page.store.queue()
    ids = {job["run_id"] for job in waiting}
    past = [run for run in page.store.runs(_SHOWN_RUNS) if run["id"] not in ids]
    if not waiting and not past:
        return note(page.t("No runs yet."))
    queue = "".join(_waiting_row(page, job, at, len(waiting), current) for at, job in enumerate(waiting))
    rows = "".join(_past_row(page, run, current) for run in past)
    head = f"<h4>{e(page.t('Waiting, in this order'))}</h4>" if waiting else ""
    return (
        (f'{head}<ol class="runs waiting">{queue}</ol>' if waiting else "")
        + (f"<h4>{e(page.t('Running and past runs'))}</h4>" if waiting and past else "")
        + (f'<ul class="runs">{rows}</ul>' if past else "")
    )


def _waiting_row(page: Page, job: dict, at: int, count: int, current: str) -> str:
    first = page.t("This run is the next one already.")
    last = page.t("This run is the last one already.")
    name = job["name"]

    def named(text: str, sign: str, act: str, disabled: str = "", **more) -> str:
        return button(sign, act, str(job["id"]), says=f"{text}: {name}", disabled=disabled, **more)

    buttons = (
        named(page.t("Move up"), "↑", "up", "" if at else first)
        + named(page.t("Move down"), "↓", "down", "" if at < count - 1 else last)
        + named(page.t("Run next"), page.t("Run next"), "first", "" if at else first)
        + named(page.t("Duplicate"), page.t("Duplicate"), "duplicate")
        + named(page.t("Remove"), page.t("Remove"), "remove", kind="danger")
    )
    here = ' aria-current="true"' if job["run_id"] == current else ""
    return (
        f'<li><button type="button" class="show" data-act="run" data-item="{e(job["run_id"])}"{here}>'
        f'<span class="name">{at + 1}. {e(name)}</span>{state_chip(page, "queued")}'
        f'<span class="when">{e(job["device"])}</span></button><span class="actions">{buttons}</span></li>'
    )


def _past_row(page: Page, run: dict, current: str) -> str:
    here = ' aria-current="true"' if run["id"] == current else ""
    measured = (run["result"] or {}).get("metrics") or {}
    best = measured.get("exact_match", measured.get("preferred", measured.get("correct")))
    tail = f"{best:.0%}" if best is not None else ""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"]))
    return (
        f'<li><button type="button" class="show" data-act="run" data-item="{e(run["id"])}"{here}>'
        f'<span class="name">{e(run["name"])}</span>{state_chip(page, run["state"])}'
        f'<span class="when">{e(when)}</span><span class="result">{tail}</span></button></li>'
    )

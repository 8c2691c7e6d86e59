"""The checkpoints that a run keeps: continue from one, make an adapter of it, delete it; and train the run longer.

Part of the Train tab. Each of these queues a job; the run itself is left as it is.
"""

from __future__ import annotations

import gradio as gr

from studio.jobs import client
from studio.recipe import recipe_from
from studio.training import checkpoints
from studio.training.checkpoints import Checkpoint
from studio.training.continuation import SCHEDULES, longer
from studio.ui.html_parts import Board, button, chip, e, note, number, size
from studio.ui.page import Page
from studio.ui.run_status import LIVE
from studio.words import StudioError

_NAME_LENGTH = 120  # characters that the library takes


class CheckpointPanel:
    """The components; `view` gives their updates for a run, `bind` binds their handlers."""

    def __init__(self, page: Page):
        self.page = page
        with gr.Accordion(page.t("Checkpoints, and training longer"), open=False, elem_id="checkpoints-part"):
            self.board = Board(elem_id="checkpoints")
            with gr.Row(visible=False, elem_id="longer-form") as self.form:
                self.amount = gr.Number(
                    1,
                    label=page.t("More epochs (or steps, where the run counts steps)"),
                    minimum=0,
                    elem_id="longer-amount",
                )
                self.lr_schedule = gr.Dropdown(
                    [(page.say(title), key) for key, title in SCHEDULES.items()],
                    value="rewarm",
                    label=page.t("Learning rate from there on"),
                    elem_id="longer-schedule",
                )
                self.longer = gr.Button(page.t("Train longer"), elem_id="longer")
        self.outputs = [self.board, self.form]

    def view(self, run: dict | None) -> tuple[str, bool]:
        """HTML of the list, and whether the run can be trained longer."""
        found = checkpoints.listed(self.page.home.checkpoints(run["id"])) if run else []
        return checkpoints_html(self.page, run, found), bool(found) and run["state"] not in LIVE

    def bind(self) -> None:
        page = self.page

        def train_longer(run_id: str, amount: float | None, lr_schedule: str):
            return on_longer(page, run_id, amount or 0, lr_schedule)

        page.on(self.longer.click, train_longer, [page.run, self.amount, self.lr_schedule], page.run, changes=True)

        def press(run_id: str, event: gr.EventData):
            return on_press(page, run_id, event.act, event.item)

        page.on(self.board.click, press, page.run, [page.run, page.tabs, page.changed], changes=True)


def on_longer(page: Page, run_id: str, amount: float, lr_schedule: str) -> str:
    """Queue a longer run that goes on from the last checkpoint; returns its id."""
    run, found = _run(page, run_id), checkpoints.last(page.home.checkpoints(run_id))
    if found is None:
        raise StudioError("This run keeps no checkpoint, so it cannot be trained longer. Start it again.")
    plan = page.store.events(run_id, kind="plan", limit=1)
    recipe = longer(
        recipe_from(run["recipe"]), amount, done=found.step, examples=plan[-1]["data"]["examples"] if plan else 1
    )
    name = _named(run["name"], page.t("longer"))
    return client.continue_run(page.store, run_id, found.step, name, recipe.to_dict(), lr_schedule)


def on_press(page: Page, run_id: str, act: str, item: str) -> tuple:
    """Carry out a button of the list; returns updates of (run, tabs, changed)."""
    run = _run(page, run_id)
    if act == "chat":
        return gr.skip(), gr.Tabs(selected="chat"), page.stamp(f"chat {item}")
    found = checkpoints.find(page.home.checkpoints(run_id), int(item))
    name = _named(run["name"], page.t("step {step}", step=found.step))
    if act == "continue":
        new = client.continue_run(page.store, run_id, found.step, name, run["recipe"])
        return new, gr.skip(), gr.skip()
    if act == "adapter":
        payload = {"step": found.step, "name": name}
        client.start_job(page.store, "checkpoint", payload, _idle_device(run), run_id)
    elif act == "delete":
        checkpoints.delete(found.folder)
    return gr.skip(), gr.skip(), gr.skip()


def _idle_device(run: dict) -> str:
    """Where an adapter is made: on the run's device, or beside a live run on the CPU, if the base model goes there."""
    quantised = recipe_from(run["recipe"]).quantisation != "none"
    return run["device"] if run["state"] not in LIVE or quantised else "cpu"


def _run(page: Page, run_id: str) -> dict:
    run = page.store.run(run_id) if run_id else None
    if run is None:
        raise StudioError("There is no run '{run}' any more.", run=run_id)
    return run


def _named(name: str, addition: str) -> str:
    """The run's name with an addition in brackets, shortened to what the library takes."""
    tail = f" ({addition})"
    return name[: _NAME_LENGTH - len(tail)] + tail


def checkpoints_html(page: Page, run: dict | None, found: list[Checkpoint]) -> str:
    """Return the list of checkpoints with their disk use and what can be done with each."""
    if not found:
        return note(
            page.t(
                "The checkpoints that a run keeps appear here: go on from one, or make an adapter of it. "
                "How many are kept is set on the Hyperparameters tab."
            )
        )
    best = checkpoints.best(found)
    job = page.store.latest_job(run["id"], "checkpoint")
    live = run["state"] in LIVE
    rows = "".join(_row(page, run, item, item is best, item is found[-1], job, live) for item in reversed(found))
    training = recipe_from(run["recipe"]).training
    disk = page.t(
        "{count} {count:checkpoint|checkpoints}, {size} on disk.",
        count=len(found),
        size=size(sum(item.size for item in found)),
    )
    rule = (
        page.t("The newest {kept} and the best are kept.", kept=training.save_total_limit)
        if training.keeps_best
        else page.t("The newest {kept} are kept.", kept=training.save_total_limit)
    )
    failed = note(page.say(job["reason"]), "bad") if job and job["state"] == "failed" and job["reason"] else ""
    return f'<p class="help">{e(disk)} {e(rule)}</p><ul class="checkpoints">{rows}</ul>{failed}'


def _row(page: Page, run: dict, item: Checkpoint, best: bool, last: bool, job: dict | None, live: bool) -> str:
    facts = [
        page.t("epoch {epoch}", epoch=f"{item.epoch:.3g}") if item.epoch is not None else "",
        page.t("loss {loss}", loss=number(item.loss)) if item.loss is not None else "",
        page.t("validation loss {loss}", loss=number(item.eval_loss)) if item.eval_loss is not None else "",
        size(item.size),
    ]
    marks = (chip(page.t("best"), "good") if best else "") + (chip(page.t("newest")) if last else "")
    return (
        f'<li><span class="name">{e(page.t("step {step}", step=f"{item.step:,}"))} {marks}</span>'
        f'<span class="help">{e(" · ".join(fact for fact in facts if fact))}</span>'
        f'<span class="actions">{_buttons(page, run, item, job, live, last)}</span></li>'
    )


def _buttons(page: Page, run: dict, item: Checkpoint, job: dict | None, live: bool, last: bool) -> str:
    made = checkpoints.adapter_id(run["id"], item.step)
    row = page.store.adapter(made)

    def named(text: str, act: str, **more) -> str:
        says = f"{text}: {page.t('step {step}', step=item.step)}"
        return button(text, act, str(item.step), says=says, **more)

    if row and row["deleted"] is None:
        adapter = button(page.t("Try it in Chat"), "chat", made)
    elif job and job["payload"]["step"] == item.step and job["state"] in LIVE:
        adapter = f'<span class="help">{e(page.say(job["doing"]) or page.t("Waiting"))}</span>'
    else:
        adapter = named(page.t("Make an adapter"), "adapter")
    return (
        named(page.t("Continue from here"), "continue")
        + adapter
        + named(
            page.t("Delete"),
            "delete",
            kind="danger",
            disabled=page.t("The run needs it to go on after an interruption.") if live and last else "",
            confirm=page.t("Delete the checkpoint of step {step}?", step=item.step),
        )
    )

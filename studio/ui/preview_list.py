"""What blending or converting has made and is not saved yet, and the state of the job that makes the next one.

Drawn from the store alone, so that a reload of the page loses nothing. A component group that the Library's panels for
blending and converting share.
"""

from __future__ import annotations

import gradio as gr

from studio.home import PREVIEW
from studio.jobs import client
from studio.library import previews
from studio.ui.html_parts import Board, button, chip, e, facts, note
from studio.ui.page import Page
from studio.words import StudioError

_SHOWN = 4  # previews, the newest ones
_TICK = 1.0  # seconds between looks at the store while a panel is open
_BEST_VISIBLE = 0.002  # share of the bar's width that an error other than 0 takes at least


class PreviewList:
    """The list of one kind of job ("blend", "convert"), a name for saving, and a timer that runs while it is open."""

    def __init__(self, page: Page, kind: str):
        self.page, self.kind = page, kind
        self.name = gr.Textbox(
            label=page.t("Name in the library"),
            placeholder=page.t("as it is called below"),
            max_length=120,
            visible=False,
            elem_id=f"{kind}-name",
        )
        self.board = Board(elem_id=f"{kind}-made")
        self.seen = gr.Textbox(visible="hidden", label=page.t("State"))
        self.timer = gr.Timer(_TICK, active=False)

    @property
    def shown(self) -> list:
        """The components that `view` updates."""
        return [self.board, self.name, self.seen]

    def view(self, before: str = "") -> list:
        """Updates of `shown`; nothing where what was drawn last (`before`) still holds."""
        rows = self.rows()
        drawn = state_html(self.page, self.kind) + "".join(_preview_html(self.page, row) for row in rows)
        now = str(hash(drawn))
        return [gr.skip()] * 3 if now == before else [drawn, gr.update(visible=bool(rows)), now]

    def rows(self) -> list[dict]:
        """The newest previews that jobs of this kind have made."""
        found = [row for row in self.page.store.previews() if row["card"].get("made", {}).get("by") == self.kind]
        return found[:_SHOWN]

    def bind(self) -> None:
        """Bind the timer and the buttons of the list."""
        page = self.page

        def tick(before):
            return self.view(before)

        def press(name, event: gr.EventData):
            return self._press(event.act, event.item, name)

        page.on(self.timer.tick, tick, self.seen, self.shown, changes=True)
        page.on(self.board.click, press, self.name, [*self.shown, page.tabs, page.changed], changes=True)

    def _press(self, act: str, item: str, name: str) -> list:
        """Run a button's action; updates of `shown`, the tabs and the draft's stamp."""
        page = self.page
        if act == "chat" and item.startswith(PREVIEW):
            return [*self.view(), gr.Tabs(selected="chat"), page.stamp(f"chat {item}")]
        match act:
            case "stop":
                client.stop(page.store, int(item))
            case "discard":
                previews.discard(page.home, page.store, item)
            case "save":
                row = page.store.adapter(item)
                previews.save(page.home, page.store, item, name or (row["name"] if row else ""))
                gr.Info(page.t("It is in the library now."))
            case _:
                raise StudioError("'{what}' is nothing that can be done with an adapter.", what=act)
        board, named, seen = self.view()
        return [board, {**named, "value": ""} if act == "save" else named, seen, gr.skip(), gr.skip()]


def state_html(page: Page, kind: str) -> str:
    """What the newest job of this kind is doing, or why it failed; "" if it is done."""
    for job in page.store.jobs(kind=kind)[-1:]:
        if job["state"] in ("queued", "running"):
            stop = button(page.t("Stop"), "stop", str(job["id"]))
            return f'{note(page.say(job["doing"]) or page.t("Waiting for a worker"))}<p class="actions">{stop}</p>'
        if job["state"] == "failed":
            return note(page.say(job["reason"]), "bad")
        if job["state"] == "stopped":
            return note(page.t("Stopped. Nothing was made."))
    return ""


def _preview_html(page: Page, row: dict) -> str:
    card, name = row["card"], row["name"]
    made = card["made"]
    pairs = [
        (page.t("Error of the weight changes"), percent(made["error"])),
        (page.t("Highest rank"), str(max(rank for _, rank, _ in made["layers"]))),
        (page.t("Layers"), str(len(made["layers"]))),
        *_fidelity(page, made.get("fidelity")),
    ]

    def named(text: str, act: str, kind: str = "") -> str:
        return button(text, act, row["id"], says=f"{text}: {name}", kind=kind)

    buttons = (
        ("" if card.get("labels") else named(page.t("Try it in Chat"), "chat"))
        + named(page.t("Save to the library"), "save", "primary")
        + named(page.t("Discard"), "discard", "danger")
    )
    return (
        f'<article class="card preview"><header><h4 title="{e(name)}">{e(name)}</h4>'
        f"{chip(card.get('summary', ''))}{chip(page.t('not saved yet'), 'warn')}</header>{facts(pairs)}"
        f"{_layers_html(page, made['layers'])}<footer>{buttons}</footer></article>"
    )


def _fidelity(page: Page, found: dict | None) -> list[tuple[str, str]]:
    """(title, text) of how far the answers of a conversion are from the adapter's."""
    if not found:
        return []
    asked = (
        page.t("pictures of noise")
        if found["pictures"]
        else page.t("validation questions")
        if found["validation"]
        else page.t("fixed questions, as its run has kept none")
    )
    same = page.t("{same} of {count} {asked}", same=found["same_answers"], count=found["questions"], asked=asked)
    return [
        (page.t("Same answers (greedy)"), same),
        (page.t("Error of the logits' change"), percent(found["logit_error"])),
        (page.t("Largest difference of a logit"), f"{found['logit_difference']:.2g}"),
    ]


def _layers_html(page: Page, layers: list[list]) -> str:
    """The error of each layer as a bar, the largest first."""
    rows = "".join(
        f'<li><span class="name">{e(layer)}</span><span class="count">r={rank}</span>'
        f'<span class="bar" aria-hidden="true"><span style="width:{_width(error):.1%}"></span></span>'
        f'<span class="count">{e(percent(error))}</span></li>'
        for layer, rank, error in sorted(layers, key=lambda one: -one[2])
    )
    help_text = page.t("How much of each layer's weight changes is missing: ‖ΔW − B·A‖ / ‖ΔW‖.")
    return (
        f'<details><summary>{e(page.t("Error of each layer"))}</summary><p class="help">{e(help_text)}</p>'
        f'<ul class="layer-errors" tabindex="0">{rows}</ul></details>'
    )


def _width(error: float) -> float:
    return min(1.0, max(error, _BEST_VISIBLE if error > 1e-6 else 0.0))


def percent(share: float) -> str:
    """A share with two significant digits: 12 %, 0.034 %; below a millionth it is a rounding error, "0 %"."""
    return "0 %" if share < 1e-6 else f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"

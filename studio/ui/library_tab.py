"""The Library tab: trained adapters as cards; search, download, rename, reuse the recipe, merge, delete, restore.

The operations are implemented in `studio.library`; this module only displays them.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import gradio as gr
import yaml

from studio.evaluation.predictions import MACRO_F1, SCORES
from studio.forecast import duration
from studio.jobs import client
from studio.library import export, shelf
from studio.methods import METHODS
from studio.ui import blend_panel, convert_panel, switch_panel
from studio.ui.access import may_change, on_space
from studio.ui.downloads import TAKE, adapter_zip
from studio.ui.html_parts import Board, button, chip, e, facts, note, number, size
from studio.ui.library_panel import Opened
from studio.ui.page import Page
from studio.ui.results import ranged
from studio.words import StudioError

PANELS: dict[str, ModuleType] = {panel.NAME: panel for panel in (blend_panel, convert_panel, switch_panel)}
"""Action of a card's button → module of the panel that it opens below the shelf, see `studio.ui.library_panel`."""


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    with gr.Row(equal_height=True):
        search = gr.Textbox(
            label=page.t("Search"),
            placeholder=page.t("name, method, data or base model"),
            scale=3,
            elem_id="library-search",
        )
        sort = gr.Dropdown(
            [(page.t(title), key) for key, title in shelf.SORTS.items()],
            value="newest",
            label=page.t("Order"),
            scale=1,
            min_width=160,
            elem_id="library-sort",
        )
        trash = gr.Checkbox(label=page.t("Show the trash"), scale=1, min_width=140, elem_id="library-trash")
    with gr.Row(visible=False, equal_height=True) as naming:
        target = gr.Textbox(visible="hidden", label="id")
        name = gr.Textbox(label=page.t("New name"), max_length=120, scale=4, elem_id="new-name")
        save = gr.Button(page.t("Save the name"), variant="primary", scale=1, elem_id="save-name")
    message = gr.HTML(elem_id="library-said", apply_default_css=False)
    cards = Board(elem_id="adapters")
    page.parts["library-opened"] = opened = gr.Textbox(visible="hidden", elem_id="library-opened")
    panels = [panel.build(page) for panel in PANELS.values()]
    file = gr.DownloadButton("zip", visible="hidden", elem_id="download-file")
    seen = gr.Textbox(visible="hidden", label=page.t("State"))
    timer = gr.Timer(2.0)

    def bind():
        controls = [search, sort, trash]

        def press(words, order, deleted, event: gr.EventData):
            return act(page, event.act, event.item, (words, order, deleted))

        def rename(adapter: str, text: str, words, order, deleted):
            shelf.rename(page.home, page.store, adapter, text)
            return gr.Row(visible=False), cards_html(page, words, order, deleted)

        outputs = [cards, file, naming, target, name, page.changed, message, opened]
        pressed = page.on(cards.click, press, controls, outputs, changes=True)
        pressed.then(None, file, None, js=TAKE)
        page.on(save.click, rename, [target, name, *controls], [naming, cards], changes=True)
        page.on(name.submit, rename, [target, name, *controls], [naming, cards], changes=True)

        def redraw(words, order, deleted, before, profile: gr.OAuthProfile | None):
            drawn = cards_html(page, words, order, deleted, owner=may_change(profile))
            now = str(hash(drawn))
            return (gr.skip(), gr.skip()) if now == before else (drawn, now)

        for event in (
            search.change,
            sort.change,
            trash.change,
            timer.tick,
            page.parts["tab-library"].select,
            partial(page.demo.load),
        ):
            page.on(event, redraw, [*controls, seen], [cards, seen])
        for bind_panel in panels:
            bind_panel()

    return bind


def act(page: Page, what: str, adapter: str, controls: tuple) -> list:
    """Run the action of a card's button.

    Returns updates of [cards, file, naming row, its adapter id, its name, stamp, message, opened panel].
    """
    home, store = page.home, page.store
    same = [gr.skip(), gr.update(value=None), *[gr.skip()] * 4, "", gr.skip()]
    match what:
        case "download":
            return [gr.skip(), gr.update(value=str(adapter_zip(page, adapter))), *same[2:]]
        case "rename":
            return [*same[:2], gr.Row(visible=True), adapter, store.adapter(adapter)["name"], *same[5:]]
        case "recipe":
            page.desk.change(**store.adapter(adapter)["card"]["recipe"])
            return [
                *same[:5],
                page.stamp("recipe"),
                note(page.t("The recipe is on the desk; look through the tabs and press Start."), "good"),
                gr.skip(),
            ]
        case "merge":
            client.start_job(store, "export", {"adapter": adapter, "what": "merged"})
            return [
                *same[:6],
                note(page.t("A merged model is being made; it will appear here as a card of its own."), "good"),
                gr.skip(),
            ]
        case "delete":
            shelf.delete(home, store, adapter)
        case "restore":
            shelf.restore(home, store, adapter)
        case "empty":
            shelf.empty_trash(home, store)
        case "show" | "hide":
            shelf.show(home, store, adapter, what == "show")
        case _ if what in PANELS:
            return [*same[:7], str(Opened(what, (adapter,)))]
        case _:
            raise StudioError("'{what}' is nothing that can be done with an adapter.", what=what)
    return [cards_html(page, *controls), *same[1:]]


def cards_html(page: Page, words: str, order: str, deleted: bool, owner: bool = True) -> str:
    """Return the matching adapters as cards, below the status of the newest export job."""
    rows = shelf.listing(
        page.store, words or "", order or "newest", deleted=bool(deleted) and owner, shown_only=not owner
    )
    head = jobs_html(page) if owner else ""
    if deleted and rows and owner:
        head += f'<p class="actions">{button(page.t("Remove all of these for good"), "empty", kind="danger")}</p>'
    if not rows:
        empty = (
            "The trash is empty."
            if deleted
            else "No adapter fits; search for less."
            if words
            else "No adapters yet: each finished run puts one here."
        )
        return head + note(page.t(empty))
    return head + f'<div class="cards">{"".join(_card(page, row, bool(deleted), owner) for row in rows)}</div>'


def jobs_html(page: Page) -> str:
    """Return the status of the newest export job if it is waiting, running or failed."""
    found = page.store.jobs(kind="export")[-1:]
    for job in found:
        if job["state"] in ("queued", "running"):
            return note(page.say(job["doing"]) or page.t("Waiting for a worker"))
        if job["state"] == "failed":
            return note(page.say(job["reason"]), "bad")
    return ""


def _card(page: Page, row: dict, deleted: bool, owner: bool) -> str:
    card = row["card"]
    pairs = [
        (page.t("Base model"), str(card.get("base", "?"))),
        (page.t("Data"), f"{card.get('data', '?')} ({card.get('rows', 0):,})"),
        *metrics(page, card.get("metrics") or {}),
        (page.t("Learnt"), number(card.get("parameters"))),
        (page.t("Size"), size(card.get("bytes"))),
        (page.t("Time"), page.say(duration(card.get("seconds") or 0))),
        (page.t("Finished"), str(card.get("finished", ""))[:16].replace("T", " ")),
    ]
    recipe = yaml.safe_dump(card.get("recipe", {}), sort_keys=False, allow_unicode=True)
    kind = chip(page.t("whole model"), "warn") if card.get("kind") == "model" else ""
    shown = chip(page.t("visitors see it"), "good") if row["shown"] and on_space() else ""
    return (
        f'<article class="card adapter"><header><h4 title="{e(row["name"])}">{e(row["name"])}</h4>'
        f"{chip(card.get('summary', ''))}{kind}{shown}</header>{facts(pairs)}"
        f'<details><summary>{e(page.t("Recipe"))}</summary><pre class="log" tabindex="0">{e(recipe)}</pre></details>'
        f"<footer>{_buttons(page, row, deleted) if owner else ''}</footer></article>"
    )


def _buttons(page: Page, row: dict, deleted: bool) -> str:
    adapter, name = row["id"], row["name"]

    def named(text: str, what: str, **more) -> str:
        return button(page.t(text), what, adapter, says=f"{page.t(text)}: {name}", **more)

    if deleted:
        return named("Bring back", "restore", kind="primary")
    refusal = export.merge_refusal(row["card"])
    visitors = (
        (named("Hide from visitors", "hide") if row["shown"] else named("Show to visitors", "show"))
        if on_space()
        else ""
    )
    reuse = (
        named("Use this recipe", "recipe")
        if row["card"].get("recipe", {}).get("method", {}).get("name") in METHODS
        else ""
    )
    return (
        named("Download", "download", kind="primary")
        + reuse
        + named("Rename", "rename")
        + named("Merge into the base", "merge", disabled=page.say(refusal) if refusal else "")
        + visitors
        + named("Delete", "delete", kind="danger")
    )


def metrics(page: Page, found: dict) -> list[tuple[str, str]]:
    """Return (title, base model → fine-tuned model) for each metric that was measured."""
    pairs = []
    scores = {**SCORES, "macro_f1": MACRO_F1}
    for key in ("preferred", "heeded", "correct", "macro_f1", "exact_match"):
        if key in found:
            before = f"{found[f'base_{key}']:.0%} → " if f"base_{key}" in found else ""
            pairs.append(
                (
                    page.say(scores[key].title),
                    before + ranged(found[key], (found.get("intervals") or {}).get(key, {}).get("fine_tuned")),
                )
            )
    if "eval_loss" in found:
        before = f"{number(found['base_eval_loss'])} → " if "base_eval_loss" in found else ""
        pairs.append((page.t("Validation loss"), f"{before}{number(found['eval_loss'])}"))
    return pairs

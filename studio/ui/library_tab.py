"""The Library tab: adapters to search, filter, select and work on.

The operations are implemented in `studio.library`; this module binds what is shown (`library_view`, `library_cards`,
`library_bar`) and the panels that work on chosen adapters (`library_panel`) to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import gradio as gr

from studio.export import outputs
from studio.library import adapter_store, continuing
from studio.ui import (
    blend_panel,
    convert_panel,
    export_panel,
    library_bar,
    library_cards,
    library_compare,
    library_details,
    library_import,
    library_view,
    switch_panel,
)
from studio.ui.access import may_change
from studio.ui.downloads import TAKE, adapter_zip
from studio.ui.html_parts import Board, note
from studio.ui.library_panel import Opened
from studio.ui.library_view import Controls, View
from studio.ui.page import Page
from studio.ui.pulse import Pulse
from studio.words import StudioError

PANELS: dict[str, ModuleType] = {
    "details": library_details,
    "compare": library_compare,
    **{panel.NAME: panel for panel in (export_panel, blend_panel, convert_panel, switch_panel)},
}
"""Action of a button → module of the panel that it opens above the cards, see `studio.ui.library_panel`."""

_LOOK = 2.0  # seconds between two looks for what has changed
_TO_PANEL = """(opened) => {
  if (opened) setTimeout(() => {
    const bar = document.querySelector('#library-bar');
    if (bar) window.scrollTo({ top: bar.getBoundingClientRect().top + window.scrollY - 70, behavior: 'smooth' });
  }, 150);
  return [];
}"""


@dataclass
class Parts:
    """The components that a click on a card may update."""

    controls: Controls
    cards: Board
    bar: Board
    seen: gr.Textbox
    file: gr.DownloadButton
    message: gr.HTML
    opened: gr.Textbox
    draft_changed: gr.Textbox

    @property
    def outputs(self) -> list:
        controls = self.controls
        rest = [value for key, value in vars(self).items() if key != "controls"]
        return [*rest, *controls.filters, controls.at, controls.chosen, controls.deleted]


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.parts["library-changed"] = changed = gr.Textbox(visible="hidden", elem_id="library-changed")
    bind_import = library_import.build(page)
    controls = library_view.build(page)
    message = gr.HTML(elem_id="library-text", apply_default_css=False)
    bar = Board(elem_id="library-bar")
    page.parts["library-opened"] = opened = gr.Textbox(visible="hidden", elem_id="library-opened")
    panels = [panel.build(page) for panel in PANELS.values()]
    cards = Board(elem_id="adapters")
    file = gr.DownloadButton("zip", visible="hidden", elem_id="download-file")
    seen = gr.Textbox(visible="hidden", label=page.t("State"))
    pulse = Pulse(lambda _: {"tick": repr(news(page))}, seconds=_LOOK, elem_id="library-pulse")
    parts = Parts(controls, cards, bar, seen, file, message, opened, page.changed)

    def bind_all():
        bind(page, parts, pulse, changed)
        for bind_panel in (bind_import, *panels):
            bind_panel()

    return bind_all


def bind(page: Page, parts: Parts, pulse: Pulse, changed: gr.Textbox) -> None:
    """Bind the event handlers of the tab. changed: a stamp that the panels renew after they changed an adapter."""
    controls, inputs = parts.controls, set(parts.controls.inputs)

    def press(values: dict, event: gr.EventData):
        return act(page, parts, event.act, event.item, controls.view(values))

    def pick(values: dict, event: gr.EventData):
        view = controls.view(values)
        view = view._replace(chosen=library_bar.picked(view, event.picked, event.listed))
        return view.chosen, library_bar.bar_html(page, view, PANELS)

    def redraw(values: dict, profile: gr.OAuthProfile | None):
        return drawn(page, parts, controls.view(values), values[parts.seen], owner=may_change(profile))

    def arrange(values: dict, profile: gr.OAuthProfile | None):
        view = controls.view(values)._replace(at="0")
        return {controls.at: "0", **drawn(page, parts, view, values[parts.seen], owner=may_change(profile))}

    for board in (parts.cards, parts.bar, page.parts["library-about"]):
        pressed = page.on(board.click, press, inputs, parts.outputs, changes=True)
        pressed.then(None, parts.file, None, js=TAKE)
    selected = [controls.chosen, parts.bar]
    page.on(parts.cards.select, pick, inputs, selected, changes=True, trigger_mode="multiple")
    shown, seen = [parts.cards, parts.bar, parts.seen, controls.at, *controls.filters], {*inputs, parts.seen}
    for event in (pulse.tick, changed.change, page.parts["tab-library"].select):
        page.on(event, redraw, seen, shown)
    for control in (controls.words, controls.sort, controls.deleted, *controls.filters, controls.bound):
        page.on(control.change, arrange, seen, shown, trigger_mode="always_last")
    page.on(parts.opened.change, None, parts.opened, None, js=_TO_PANEL)


def stamp(page: Page, view: View, owner: bool) -> str:
    """Return a text that changes when the cards have to be drawn anew: with the adapters, the newest export, the view.

    Which adapters are selected is not part of it, because the browser shows that itself.
    """
    return repr((news(page), view._replace(chosen=""), owner))


def news(page: Page) -> tuple:
    """Return what changes with the adapters and with the newest export."""
    job = page.store.newest_job("export") or {}
    return page.store.revision("adapters"), job.get("id"), job.get("state"), job.get("doing")


def drawn(page: Page, parts: Parts, view: View, before: str, owner: bool) -> dict:
    """Return updates of cards, bar and filters, and the new stamp; nothing if the stamp is still `before`."""
    now = stamp(page, view, owner)
    if now == before:
        return {parts.seen: gr.skip()}
    return {
        parts.cards: library_cards.cards_html(page, view, owner),
        parts.bar: library_bar.bar_html(page, view, PANELS, owner),
        parts.seen: now,
        **dict(zip(parts.controls.filters, library_view.offered(page, view, owner), strict=True)),
    }


def act(page: Page, parts: Parts, what: str, adapter: str, view: View) -> dict:
    """Run the action of a button on the adapter (or tag, or page) named by the button; return updates of `parts`."""
    home, store, controls = page.home, page.store, parts.controls
    clean = {parts.file: gr.update(value=None), parts.message: ""}
    match what:
        case "download":
            return {**clean, parts.file: gr.update(value=str(adapter_zip(page, adapter)))}
        case "recipe":
            page.editor.change(**store.adapter(adapter)["card"]["recipe"])
            return {
                **clean,
                **_draft_loaded(page, parts, "The recipe is loaded; look through the tabs and press Start."),
            }
        case "continue":
            page.editor.change(**continuing.draft(store, adapter))
            text = "The recipe is loaded and starts from this adapter; choose data and press Start."
            return {**clean, **_draft_loaded(page, parts, text)}
        case "tag":
            return {**clean, controls.tag: adapter, controls.deleted: False}
        case "page":
            view = view._replace(at=adapter)
        case "clear":
            view = view._replace(chosen="")
        case "select-page":
            view = view._replace(chosen=library_bar.picked(view, library_cards.page_ids(page, view), []))
        case "delete" | "delete-selected":
            for each in (adapter,) if adapter else view.selected:
                if adapter or store.adapter(each):
                    adapter_store.delete(home, store, each)
            gone = {adapter} if adapter else set(view.selected)
            view = view._replace(chosen=",".join(each for each in view.selected if each not in gone))
            clean[parts.opened] = ""
        case "restore":
            adapter_store.restore(home, store, adapter)
        case "remove":
            adapter_store.remove(home, store, adapter)
            outputs.sweep(home, store)
        case "empty":
            adapter_store.empty_trash(home, store)
            outputs.sweep(home, store)
        case "show" | "hide":
            adapter_store.show(home, store, adapter, what == "show")
        case _ if what in PANELS:
            opened = Opened(what, (adapter,) if adapter else view.selected)
            return {**clean, parts.opened: str(opened)}
        case _:
            raise StudioError("'{what}' is nothing that can be done with an adapter.", what=what)
    return {**clean, controls.at: view.at, controls.chosen: view.chosen, **drawn(page, parts, view, "", owner=True)}


def _draft_loaded(page: Page, parts: Parts, text: str) -> dict:
    return {parts.draft_changed: page.stamp("recipe"), parts.message: note(page.t(text), "good")}

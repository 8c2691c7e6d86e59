"""Collapsible section with recently used and cached entries and a search of the Hugging Face Hub.

It serves both models and datasets. Recently used entries are those named by the store's runs. A click on an entry
chooses it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from studio.data.hub import PREFIX
from studio.data.hub_search import Kind, cached, search
from studio.ui.html_parts import Board, e, note
from studio.ui.page import Page
from studio.words import StudioError

_RECENT, _CACHED = 8, 12


def build(page: Page, kind: Kind, choose: Callable[[str], None]) -> Callable[[], None]:
    """Create the section; return a function that binds its event handlers.

    `choose` writes the id of a model, or the source of a dataset, to the draft.
    """
    title = page.t("Recent models, and search the hub" if kind == "model" else "Recent data, and search the hub")
    with gr.Accordion(title, open=False, elem_id=f"hub-{kind}") as fold:
        with gr.Row(elem_classes="beside-button"):
            words = gr.Textbox(
                label=page.t("Search the Hugging Face Hub"),
                placeholder="smollm2" if kind == "model" else "alpaca",
                max_length=100,
                scale=4,
                elem_id=f"hub-{kind}-words",
            )
            ask = gr.Button(page.t("Search"), scale=1, min_width=88, elem_id=f"hub-{kind}-search")
        board = Board(elem_id=f"hub-{kind}-found")

    def press(event: gr.EventData):
        choose(event.item)
        return page.stamp("model" if kind == "model" else "path")

    def bind():
        page.on(fold.expand, lambda: found_html(page, kind, ""), None, board)
        for event in (ask.click, words.submit):
            page.on(event, lambda text: found_html(page, kind, text), words, board, show_progress="minimal")
        page.on(board.click, press, None, page.changed, changes=True)

    return bind


def found_html(page: Page, kind: Kind, words: str) -> str:
    """Return the search results for `words`, if any, followed by recently used and cached entries."""
    parts = []
    if words.strip():
        try:
            found = [
                (_source(kind, entry.id), entry.id, _details(page, entry)) for entry in search(kind, words.strip())
            ]
            missing = note(page.t("Nothing on the hub has this name."))
            parts.append(_list(page.t("On the hub"), found) or missing)
        except StudioError as error:
            parts.append(note(page.say(error.sentence), "warn"))
    before = [(name, _short(name), "") for name in used_before(page, kind)]
    here = [(_source(kind, name), name, "") for name in cached(kind)[:_CACHED]]
    parts += [_list(page.t("Used before"), before), _list(page.t("In the hub's cache here"), here)]
    return "".join(parts) or note(page.t("Nothing was used before. Search by a part of the name."))


def used_before(page: Page, kind: Kind) -> list[str]:
    """Return the base models or data sources of the newest runs, each once.

    Files that no longer exist are left out.
    """
    found = {}
    for run in page.store.runs(100):
        recipe = run["recipe"]
        name = recipe.get("model", {}).get("name") if kind == "model" else recipe.get("data", {}).get("source")
        if name and (kind == "model" or "/" not in name or name.startswith(PREFIX) or Path(name).exists()):
            found.setdefault(name, True)
    return list(found)[:_RECENT]


def _details(page: Page, entry) -> str:
    count = page.t("{count} downloads a month", count=f"{entry.downloads:,}")
    return f"{count} · {page.t('licence must be accepted on the hub')}" if entry.gated else count


def _list(title: str, entries: list[tuple[str, str, str]]) -> str:
    """Return a titled list of buttons. `entries`: (value to choose, displayed name, details)."""
    if not entries:
        return ""
    rows = "".join(
        f'<li><button type="button" class="hub-entry" data-act="use" data-item="{e(item)}" title="{e(item)}">'
        f"<strong>{e(label)}</strong><span>{e(details)}</span></button></li>"
        for item, label, details in entries
    )
    return f'<h4>{e(title)}</h4><ul class="hub-entries">{rows}</ul>'


def _source(kind: Kind, name: str) -> str:
    """Return the name by which the draft refers to a repository of the hub."""
    return PREFIX + name if kind == "dataset" else name


def _short(name: str) -> str:
    """Return the file name of an absolute path; any other name unchanged."""
    return Path(name).name if name.startswith("/") else name

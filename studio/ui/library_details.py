"""Panel of the Library tab with all that is known about one adapter: facts, lineage, recipe, name, notes and tags."""

from __future__ import annotations

import gradio as gr
import yaml

from studio.forecast import duration
from studio.library import adapter_store, lineage
from studio.library.lineage import RELATIONS, Relative
from studio.ui.html_parts import Board, button, chip, e, facts, number, size
from studio.ui.library_cards import all_buttons, metrics
from studio.ui.library_panel import Opened
from studio.ui.page import Page

NAME = "details"
TITLE = "Details"


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers.

    Its buttons and links act like those of the cards: `page.parts["library-about"]`, which the Library tab handles.
    """
    with gr.Column(visible=False, elem_id="library-details") as panel:
        about = Board(elem_id="library-about")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=260):
                name = gr.Textbox(label=page.t("Name"), max_length=120, elem_id="new-name")
                tag = gr.Textbox(
                    label=page.t("New tag"),
                    placeholder=page.t("one or several, separated by commas"),
                    elem_id="new-tag",
                )
                tags = Board(elem_id="library-tags")
            notes = gr.Textbox(
                label=page.t("Notes: kept with the adapter and shown in its model card"),
                lines=5,
                max_lines=14,
                scale=2,
                min_width=300,
                elem_id="library-notes",
            )
        with gr.Row():
            save = gr.Button(page.t("Save name, notes and tags"), variant="primary", elem_id="save-details")
            close = gr.Button(page.t("Close"), elem_id="close-details")
    page.parts["library-about"] = about
    opened, changed = page.parts["library-opened"], page.parts["library-changed"]

    def bind():
        shown = [panel, about, name, notes, tags, tag]

        def show(text: str) -> list:
            now = Opened.parse(text)
            row = page.store.adapter(now.adapters[0]) if now.panel == NAME and now.adapters else None
            if row is None or row["deleted"] is not None:
                return [gr.Column(visible=False), *[gr.skip()] * (len(shown) - 1)]
            notes_now = row["card"].get("notes", "")
            return [gr.Column(visible=True), about_html(page, row), row["name"], notes_now, tags_html(page, row), ""]

        def keep(text: str, new_name: str, new_notes: str, new_tags: str) -> list:
            (adapter,) = Opened.parse(text).adapters
            added = [item for item in (new_tags or "").split(",") if item.strip()]
            before = page.store.adapter(adapter)["card"].get("tags") or []
            adapter_store.annotate(page.home, page.store, adapter, notes=new_notes or "", tags=[*before, *added])
            adapter_store.rename(page.home, page.store, adapter, new_name)
            return [*show(text), page.stamp("library")]

        def remove_tag(text: str, event: gr.EventData) -> list:
            (adapter,) = Opened.parse(text).adapters
            row = page.store.adapter(adapter)
            left = [item for item in row["card"].get("tags") or [] if item != event.item]
            adapter_store.annotate(page.home, page.store, adapter, tags=left)
            return [tags_html(page, page.store.adapter(adapter)), page.stamp("library")]

        page.on(opened.change, show, opened, shown, changes=True)
        for event in (save.click, name.submit, tag.submit):
            page.on(event, keep, [opened, name, notes, tag], [*shown, changed], changes=True)
        page.on(tags.click, remove_tag, opened, [tags, changed], changes=True)
        page.on(close.click, lambda: "", None, opened, changes=True)

    return bind


def about_html(page: Page, row: dict) -> str:
    """Return facts, lineage, recipe and buttons of an adapter."""
    card = row["card"]
    pairs = [
        (page.t("Base model"), str(card.get("base", "?"))),
        (page.t("Data"), f"{card['data']} ({card.get('rows', 0):,})" if card.get("data") else ""),
        *metrics(page, card.get("metrics") or {}),
        (page.t("Trainable parameters"), number(card["parameters"]) if card.get("parameters") else ""),
        (page.t("Size"), size(card.get("bytes"))),
        (page.t("Time"), page.say(duration(card["seconds"])) if card.get("seconds") else ""),
        (page.t("Finished"), str(card.get("finished", ""))[:16].replace("T", " ")),
        (page.t("Imported from"), str(card.get("imported_from", ""))),
    ]
    recipe = ""
    if card.get("recipe"):
        text = yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True)
        recipe = (
            f'<details><summary>{e(page.t("Recipe"))}</summary><pre class="log" tabindex="0">{e(text)}</pre></details>'
        )
    summary = chip(str(card["summary"])) if card.get("summary") else ""
    return (
        f'<div class="run-head"><h3 tabindex="-1">{e(row["name"])}</h3>{summary}</div>{facts(pairs)}'
        f'{lineage_html(page, row)}{recipe}<p class="actions">{all_buttons(page, row)}</p>'
    )


def lineage_html(page: Page, row: dict) -> str:
    """Return what the adapter was made from and what was made from it, as links; "" if neither is known."""
    lines = [
        f"{e(page.t(RELATIONS.get(parent.relation, 'Made from')))} {_link(page, parent)}"
        for parent in lineage.parents(page.store, row["card"])
    ]
    children = lineage.children(page.store, row["id"])
    if children:
        lines.append(f"{e(page.t('Made from it:'))} {', '.join(_link(page, child) for child in children)}")
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f'<ul class="lineage" aria-label="{e(page.t("Lineage"))}">{items}</ul>' if items else ""


def _link(page: Page, relative: Relative) -> str:
    if relative.where == "here":
        return (
            f'<button type="button" class="link" data-act="details" data-item="{e(relative.id)}">{e(relative.name)}'
            "</button>"
        )
    where = page.t("in the trash") if relative.where == "trash" else page.t("deleted")
    return f"<strong>{e(relative.name)}</strong> ({e(where)})"


def tags_html(page: Page, row: dict) -> str:
    """Return the adapter's tags, each with a button that removes it."""
    found = "".join(
        f'<span class="chip">#{e(tag)} '
        f"{button('×', 'remove-tag', tag, says=page.t('Remove the tag {tag}', tag=tag), kind='bare')}</span>"
        for tag in row["card"].get("tags") or ()
    )
    return f'<p class="chips">{found}</p>' if found else ""

"""The saved conversations of Chat: open, search, rename, delete, export."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import gradio as gr

from studio.chat.conversations import Conversations
from studio.ui.access import may_change
from studio.ui.chat_layout import ChatParts
from studio.ui.chat_models import columns, name_of, offers
from studio.ui.chat_turn import cleared, redrawn
from studio.ui.downloads import TAKE, fresh_folder
from studio.ui.html_parts import Board, button, e
from studio.ui.page import Page
from studio.words import StudioError

_READ_ADDRESS = "() => [new URLSearchParams(location.search).get('chat') || '']"
_WRITE_ADDRESS = """(id) => {
  const address = new URL(location.href);
  if (id) address.searchParams.set('chat', id); else address.searchParams.delete('chat');
  history.replaceState(history.state, '', address);
  return [];
}"""


@dataclass
class HistoryParts:
    """The components. asked: the id in the page's address; file: what the browser downloads; both hidden."""

    search: gr.Textbox
    board: Board
    title: gr.Textbox
    rename: gr.Button
    column: gr.Dropdown
    export: gr.Button
    export_all: gr.Button
    file: gr.File
    asked: gr.Textbox


def build(page: Page) -> HistoryParts:
    """Create the components, collapsed."""
    with gr.Accordion(page.t("Saved conversations"), open=False, elem_id="chat-history"):
        search = gr.Textbox(label=page.t("Search in conversations"), elem_id="chat-search")
        board = Board(elem_id="chat-list")
        with gr.Row(elem_classes="beside-button"):
            title = gr.Textbox(label=page.t("Title of this conversation"), max_length=120, elem_id="chat-title")
            rename = gr.Button(page.t("Rename"), scale=0, min_width=120, elem_id="chat-rename")
        with gr.Row(elem_classes="beside-button"):
            column = gr.Dropdown([], label=page.t("Column to export"), elem_id="export-column")
            export = gr.Button(page.t("Export this conversation"), scale=0, min_width=190, elem_id="export-chat")
            export_all = gr.Button(page.t("Export all"), scale=0, min_width=120, elem_id="export-chats")
        gr.HTML(
            '<p class="help">'
            f"{e(page.t('One line of JSON for each conversation, with its messages, as training data for Chat.'))}</p>",
            apply_default_css=False,
        )
    file = gr.File(visible="hidden", elem_id="chat-file")
    asked = gr.Textbox(visible="hidden", elem_id="chat-asked", label=page.t("Conversation"))
    return HistoryParts(search, board, title, rename, column, export, export_all, file, asked)


def bind(page: Page, parts: ChatParts, history: HistoryParts) -> None:
    """Bind the components."""
    _bind_list(page, parts, history)
    _bind_export(page, parts, history)


def _own(page: Page, request: gr.Request, profile: gr.OAuthProfile | None) -> Conversations:
    return Conversations(page.store, "" if may_change(profile) else request.session_hash or "")


def _bind_list(page: Page, parts: ChatParts, history: HistoryParts) -> None:
    """Bind opening, searching, renaming and deleting, and the conversation in the page's address."""
    opened = [parts.base, parts.models, *parts.heads, parts.system, *parts.shown]
    listed = [history.board, history.title, history.column]

    def look(search, id, request: gr.Request, profile: gr.OAuthProfile | None):
        return view(page, _own(page, request, profile), search, id)

    def press(event: gr.EventData, search, id, request: gr.Request, profile: gr.OAuthProfile | None):
        conversations, doomed = _own(page, request, profile), ""
        if event.act == "open":
            return [*_open(page, conversations, event.item, may_change(profile)), *[gr.skip()] * 3]
        updates = [gr.skip()] * len(opened)
        if event.act == "ask-delete":
            doomed = event.item
        elif event.act == "delete":
            conversations.delete(event.item)
            if event.item == id:
                updates[-len(parts.shown) :], id = cleared(page), ""
        return [*updates, *view(page, conversations, search, id, doomed)]

    def rename(search, id, title, request: gr.Request, profile: gr.OAuthProfile | None):
        conversations = _own(page, request, profile)
        conversations.rename(id, title or "")
        return view(page, conversations, search, id)

    def reopen(id, request: gr.Request, profile: gr.OAuthProfile | None):
        conversations = _own(page, request, profile)
        if not conversations.load(id):
            return [gr.skip()] * len(opened)
        return _open(page, conversations, id, may_change(profile))

    place = [history.search, parts.id]
    page.on(history.board.click, press, place, [*opened, *listed])
    for event in (history.search.change, parts.id.change, page.parts["tab-chat"].select):
        page.on(event, look, place, listed)
    for event in (history.rename.click, history.title.submit):
        page.on(event, rename, [*place, history.title], listed)
    page.on(parts.id.change, None, parts.id, None, js=_WRITE_ADDRESS)
    asked = page.on(partial(page.demo.load), None, None, history.asked, js=_READ_ADDRESS)
    page.on(asked.then, reopen, history.asked, opened)


def _open(page: Page, conversations: Conversations, id: str, owner: bool) -> list:
    """Return updates of the choice of models and of the conversation. Raises `StudioError` if it is gone."""
    talk = conversations.load(id)
    if talk is None:
        raise StudioError("This conversation does not exist any more.")
    base, models, *_ = offers(page, talk.base, talk.shown, owner=owner)
    talk.show(models["value"])
    heads = columns(page, talk.shown)
    count = len(heads) // 3
    for at, model in enumerate(talk.shown[:count]):
        heads[count + at]["value"] = talk.columns[model].scale
    return [base, models, *heads, talk.system, gr.skip(), talk.id, "", *redrawn(page, talk)]


def view(page: Page, conversations: Conversations, search: str, id: str, doomed: str = "") -> list:
    """Return updates of the list, the title and the columns to export. doomed: the id whose deletion is to be
    confirmed.
    """
    talk = conversations.load(id) if id else None
    names = [(name_of(page, model), model) for model in talk.columns] if talk else []
    return [
        list_html(page, conversations.listing(search or ""), id, doomed, bool((search or "").strip())),
        gr.update(value=talk.title if talk else ""),
        gr.update(choices=names, value=names[0][1] if names else None),
    ]


def list_html(page: Page, listed: list[tuple[str, str]], id: str, doomed: str, searched: bool) -> str:
    """Return the list of conversations, each with the button that deletes it."""
    if not listed:
        empty = page.t("No conversation contains these words.") if searched else ""
        return f'<p class="help">{e(empty or page.t("None yet. What you ask here is saved by itself."))}</p>'
    items = []
    for own, title in listed:
        here = ' aria-current="true"' if own == id else ""
        if own == doomed:
            actions = button(page.t("Delete for good"), "delete", own, kind="danger") + button(page.t("Keep"), "keep")
        else:
            actions = button(page.t("Delete"), "ask-delete", own, says=page.t("Delete “{title}”", title=title))
        items.append(
            f'<li><button type="button" class="chat-title" data-act="open" data-item="{e(own)}"{here}>{e(title)}'
            f"</button>{actions}</li>"
        )
    return f'<ul class="chat-list">{"".join(items)}</ul>'


def _bind_export(page: Page, parts: ChatParts, history: HistoryParts) -> None:
    def export(id, model, request: gr.Request, profile: gr.OAuthProfile | None):
        if not id:
            raise StudioError("There is no conversation to export yet; open one or ask something.")
        return written(page, _own(page, request, profile).exported(model or "", id), "conversation.jsonl")

    def export_all(model, request: gr.Request, profile: gr.OAuthProfile | None):
        return written(page, _own(page, request, profile).exported(model or ""), "conversations.jsonl")

    done = [
        page.on(history.export.click, export, [parts.id, history.column], history.file),
        page.on(history.export_all.click, export_all, history.column, history.file),
    ]
    for event in done:
        page.on(event.success, None, history.file, None, js=TAKE)


def written(page: Page, text: str, name: str) -> str:
    """Write a file for the browser to download; return its path."""
    path = fresh_folder(page.home) / name
    path.write_text(text, encoding="utf-8")
    return str(path)

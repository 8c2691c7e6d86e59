"""The Data tab's offer “From your chats”: judged and corrected answers as training data, one click for each task."""

from __future__ import annotations

import gradio as gr

from studio.chat import teaching
from studio.tasks import TASKS
from studio.ui.access import may_change
from studio.ui.html_parts import Board, button, e
from studio.ui.page import Page


def build(page: Page):
    """Create the offer; return a function that binds its handlers."""
    board = Board(elem_id="from-chats")

    def use(event: gr.EventData):
        path = teaching.write_dataset(page.store, page.home.uploads, event.item)
        page.editor.use(str(path))
        if page.editor.draft()["task"].get("name") != event.item:
            page.editor.choose_task(event.item)
        return page.stamp("chats")

    def look(profile: gr.OAuthProfile | None):
        return offer_html(page) if may_change(profile) else ""

    def bind():
        page.on(board.click, use, None, page.changed, changes=True)
        for event in (page.followers["data"].tick, page.parts["tab-data"].select):
            page.on(event, look, None, board)

    return bind


def offer_html(page: Page) -> str:
    """Return a button for each task with the number of its rows; "" while nothing was judged."""
    found = teaching.rows_in_store(page.store)
    if not any(found.values()):
        return ""
    buttons = "".join(
        button(
            f"{page.t(TASKS[task].title)} · {page.t('{count} {count:row|rows}', count=len(rows))}", "use-chats", task
        )
        for task, rows in found.items()
        if rows
    )
    help = page.t("Answers that you marked or corrected in Chat. Deleting a conversation takes its rows away.")
    return f'<h3>{e(page.t("From your chats"))}</h3><p class="help">{e(help)}</p><p class="actions">{buttons}</p>'

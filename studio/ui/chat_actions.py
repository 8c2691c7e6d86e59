"""What a click at an answer does: thumbs, other versions, undo, answer again, continue."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from studio.chat.conversation import Column, Conversation
from studio.ui import chat_view
from studio.ui.chat_layout import ChatParts
from studio.ui.chat_turn import Answer, Turn, answered_again, continued, redrawn, run, turn_handler
from studio.ui.page import Page
from studio.words import StudioError

_STEPS = {"earlier": -1, "later": 1}


def bind(page: Page, parts: ChatParts) -> None:
    """Bind the thumbs and the buttons below each column."""
    streamed = {"queue": True, "concurrency_limit": 8}
    for at, (chat, board) in enumerate(zip(parts.chats, parts.boards, strict=True)):
        page.on(board.click, presser(page, parts, at), parts.given, parts.shown, **streamed)
        page.on(chat.like, liker(page, at), parts.given, [*parts.chats, *parts.boards], **streamed)


def presser(page: Page, parts: ChatParts, at: int):
    """Return the handler of the buttons below column `at`."""

    def press(turn: Turn, event: gr.EventData) -> Iterator[list]:
        if event.act == "compare":  # that one is `chat_compare`'s
            yield [gr.skip()] * len(parts.shown)  # a generator that yields nothing would empty the page
        else:
            yield from run(page, turn, lambda talk: act(talk, at, event.act, event.item))

    return turn_handler(press, event=gr.EventData)


def act(talk: Conversation, at: int, what: str, item: str) -> list[Answer]:
    """Do what a button says in column `at`; returns the answers that are then needed."""
    model = talk.shown[at]
    column = talk.columns[model]
    if what == "again":
        return answered_again(talk, [model])
    if what == "continue":
        return continued(talk, at, int(item))
    if what in _STEPS:
        column.show_version(int(item), _STEPS[what])
    elif what == "withdraw-verdict":
        withdraw_verdict(column, int(item))
    return []


def withdraw_verdict(column: Column, id: int) -> None:
    """Take back a verdict; without one, a correction, so that the answer itself is shown again."""
    message = column.message(id)
    if message.verdict or message.corrects is None:
        message.verdict = ""
        return
    column.remove(id)
    column.chosen[message.parent] = message.corrects


def liker(page: Page, at: int):
    """Return the handler of the thumbs in column `at`; the same thumb again takes the verdict back."""

    def like(turn: Turn, event: gr.LikeData) -> Iterator[list]:
        conversations = turn.conversations(page)
        talk = conversations.load(turn.id)
        if talk is None or at >= len(talk.shown):
            raise StudioError("This conversation does not exist any more.")
        column = talk.columns[talk.shown[at]]
        index = event.index if isinstance(event.index, int) else event.index[0]
        message = column.message(chat_view.drawn(page, column.path())[index][1])
        verdict = "up" if event.liked is True or event.liked == "Like" else "down"
        message.verdict = "" if message.verdict == verdict else verdict
        conversations.save(talk)
        yield redrawn(page, talk)

    return turn_handler(like, event=gr.LikeData)

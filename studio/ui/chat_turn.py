"""Turns of a conversation: ask, edit, answer again, continue; the answers of all columns are streamed side by side.

Answers come from the chat worker through `studio.chat.client`; what was said is kept by `studio.chat.conversations`.
This module contains no model code.
"""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr

from studio.chat import client
from studio.chat.conversation import AnswerFacts, Conversation, Message
from studio.chat.conversations import Conversations
from studio.chat.sampling import Sampling
from studio.ui import chat_view
from studio.ui.access import may_change
from studio.ui.chat_layout import COLUMNS, ChatParts
from studio.ui.chat_models import BASE, require_available, text_models
from studio.ui.form import form_values
from studio.ui.html_parts import note
from studio.ui.page import Page
from studio.words import Sentence, StudioError

_stops: dict[str, threading.Event] = {}  # browser session hash → stop event of the answer being generated
_TICK = 0.05  # seconds between two updates of the page


@dataclass
class Turn:
    """The settings of a turn. id: of the conversation, "" for a new one. sampling: the form's value. scales: the
    strength of each column's adapter.
    """

    id: str
    base: str
    models: list[str]
    system: str
    sampling: dict
    scales: list[float]
    session: str
    owner: bool

    def conversations(self, page: Page) -> Conversations:
        return Conversations(page.store, "" if self.owner else self.session)


@dataclass
class Answer:
    """An answer that is being generated. begun: its text where a cut answer is continued."""

    model: str
    message: Message
    begun: str = ""


Change = Callable[[Conversation], list[Answer]]
"""Changes the conversation and returns the answers that it then needs."""


def bind(page: Page, parts: ChatParts) -> None:
    """Bind Send, Answer again, Stop, New chat, and each column's edit and retry."""
    streamed = {"queue": True, "concurrency_limit": 8}
    for event in (parts.send.click, parts.message.submit):
        page.on(event, asker(page), [parts.message, *parts.given], parts.shown, **streamed)
    page.on(parts.again.click, answerer(page, None), parts.given, parts.shown, **streamed)
    page.on(parts.stop.click, on_stop)
    page.on(parts.new.click, lambda: cleared(page), None, parts.shown)
    for at, chat in enumerate(parts.chats):
        page.on(chat.retry, answerer(page, at), parts.given, parts.shown, **streamed)
        page.on(chat.edit, editor(page, at), parts.given, parts.shown, **streamed)
        page.on(chat.clear, lambda: cleared(page), None, parts.shown)


def turn_handler(handle: Callable[..., Iterator], *, event: type | None = None, own: int = 0) -> Callable:
    """Return the Gradio handler that calls the generator function `handle(turn, *own, event)`.

    event: the class of Gradio's event data that is passed, if any. own: number of inputs before `ChatParts.given`.
    Gradio fills in the parameters by their annotations, so the signature is made here once for all of them.
    """

    def handler(*arguments):
        happened, values = (arguments[:1], arguments[1:]) if event else ((), arguments)
        *values, request, profile = values
        id, base, models, system, sampling, *scales = values[own:]
        session = request.session_hash or ""
        turn = Turn(id or "", base, models or [], system or "", sampling, scales, session, may_change(profile))
        yield from handle(turn, *values[:own], *happened)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = {f"value{at}": inspect.Parameter.empty for at in range(own + 5 + COLUMNS)}
    typed = ({"event": event} if event else {}) | names | {"request": gr.Request, "profile": gr.OAuthProfile | None}
    handler.__signature__ = inspect.Signature([inspect.Parameter(n, kind, annotation=t) for n, t in typed.items()])
    handler.__annotations__ = {name: hint for name, hint in typed.items() if hint is not inspect.Parameter.empty}
    return handler


def asker(page: Page):
    """Return the handler that sends a message."""
    return turn_handler(lambda turn, text: run(page, turn, lambda talk: asked(talk, text or ""), clear=True), own=1)


def answerer(page: Page, at: int | None):
    """Return the handler that answers the last question again, in column `at` or (None) in all."""

    def again(talk: Conversation) -> list[Answer]:
        return answered_again(talk, talk.shown if at is None else talk.shown[at : at + 1])

    return turn_handler(lambda turn: run(page, turn, again))


def editor(page: Page, at: int):
    """Return the handler of an edit in column `at`: a message of the person is asked anew, an answer is corrected."""
    return turn_handler(
        lambda turn, event: run(page, turn, lambda talk: edited(page, talk, at, event.index, str(event.value))),
        event=gr.EditData,
    )


def asked(talk: Conversation, text: str) -> list[Answer]:
    """Ask `text` in every column. Raises `StudioError` if it is empty."""
    if not text.strip():
        raise StudioError("There is no message yet: write something to send.")
    return [_new_answer(talk, model) for model in talk.ask(text.strip())]


def answered_again(talk: Conversation, models: list[str]) -> list[Answer]:
    """Answer the last question of these columns again, beside the earlier answer. Raises `StudioError` without one."""
    asking = [model for model in models if talk.columns[model].last_question()]
    if not asking:
        raise StudioError("There is no question to answer again: send a message first.")
    return [_new_answer(talk, model, talk.columns[model].last_question().id) for model in asking]


def continued(talk: Conversation, at: int, id: int) -> list[Answer]:
    """Continue an answer that was cut off."""
    message = talk.columns[talk.shown[at]].message(id)
    return [Answer(talk.shown[at], message, begun=message.content)]


def edited(page: Page, talk: Conversation, at: int, index: int, text: str) -> list[Answer]:
    """Ask an edited message anew in all columns, or keep an edited answer as a correction."""
    model = talk.shown[at]
    message, whole = chat_view.edited_text(page, talk.columns[model], index, text.strip())
    if not whole.strip():
        raise StudioError("There is no message yet: write something to send.")
    if message.role == "user":
        return [_new_answer(talk, changed) for changed in talk.edit_question(model, message.id, whole)]
    if whole != message.content:
        talk.correct(model, message.id, whole)
    return []


def _new_answer(talk: Conversation, model: str, parent: int | None = None) -> Answer:
    return Answer(model, talk.columns[model].add("assistant", "", parent=parent))


def on_stop(request: gr.Request) -> None:
    stop = _stops.get(request.session_hash or "")
    if stop:
        stop.set()


def cleared(page: Page) -> list:
    """Return updates of `ChatParts.shown` for a new conversation; the present one stays among the saved ones."""
    # An update for each column: Gradio takes the value out of the one that it applies first.
    empty = [gr.update(value=[], feedback_value=None) for _ in range(COLUMNS)]
    return [gr.skip(), "", "", *empty, *[""] * COLUMNS]


def run(page: Page, turn: Turn, change: Change, *, clear: bool = False) -> Iterator[list]:
    """Change the conversation and generate the answers that it then needs; yield updates of `ChatParts.shown`.

    clear: whether the message box is emptied once the message is kept. Raises `StudioError` if no model is chosen, a
    setting is invalid, or a model is not available.
    """
    models = text_models(page, turn.models)
    if not models:
        raise StudioError("Choose who answers: the base model, an adapter, or several.")
    settings, wrong = form_values(turn.sampling, Sampling)
    if settings is None:
        raise StudioError(next(iter(wrong.values())))
    require_available(page, turn.base, models, owner=turn.owner)
    conversations = turn.conversations(page)
    talk = conversations.load(turn.id)
    if talk is None or talk.base != turn.base:
        talk = conversations.new(turn.base)
    stop = _begin(turn.session)
    try:
        with conversations.using(talk) as talk:
            talk.system = turn.system
            talk.show(models)
            for model, scale in zip(models, turn.scales, strict=False):
                talk.columns[model].scale = 1.0 if model == BASE or scale is None else scale
            yield from _answered(page, turn, talk, change(talk), settings, stop, clear)
    finally:
        stop.set()
        if _stops.get(turn.session) is stop:  # another answer of this window may have begun meanwhile
            del _stops[turn.session]


def _begin(session: str) -> threading.Event:
    """Stop the answer that this window is generating, and return the stop event of a new one."""
    if session in _stops:
        _stops[session].set()
    stop = _stops[session] = threading.Event()
    return stop


def _answered(
    page: Page,
    turn: Turn,
    talk: Conversation,
    answers: list[Answer],
    settings: Sampling,
    stop: threading.Event,
    clear: bool,
) -> Iterator[list]:
    turn.conversations(page).save(talk)
    wrong: list[str] = []
    try:
        yield ["" if clear else gr.skip(), talk.id, "", *growing(page, talk), *[gr.skip()] * COLUMNS]
        if answers:
            server = yield from _ready(page, turn, stop)
            if server:
                yield from _stream(page, talk, server, answers, settings, stop, wrong)
    finally:  # the window may have been closed meanwhile
        for answer in answers:
            if not answer.message.content:
                talk.columns[answer.model].remove(answer.message.id)
    yield [gr.skip(), talk.id, "".join(wrong), *redrawn(page, talk)]


def growing(page: Page, talk: Conversation) -> list:
    """Return the messages of each column."""
    found = []
    for at in range(COLUMNS):
        path = talk.columns[talk.shown[at]].path() if at < len(talk.shown) else []
        found.append([part for part, _ in chat_view.drawn(page, path) if part["content"] or "metadata" in part])
    return found


def redrawn(page: Page, talk: Conversation) -> list:
    """Return updates of all chats, with thumbs, and of all boards."""
    chats, boards = [], []
    for at in range(COLUMNS):
        model = talk.shown[at] if at < len(talk.shown) else None
        path = talk.columns[model].path() if model else []
        messages = [part for part, _ in chat_view.drawn(page, path)]
        chats.append(gr.update(value=messages, feedback_value=chat_view.verdicts(page, path)))
        boards.append(chat_view.board_html(page, talk, model) if model else "")
    return [*chats, *boards]


def _ready(page: Page, turn: Turn, stop: threading.Event):
    """Yield the chat worker's status until it is ready; return the server, or None if stopped."""
    settings = page.editor.inference_settings(turn.base)
    job = client.ensure_chat_server(page.store, page.home, turn.base, **settings)
    text = None
    while not stop.wait(_TICK):
        server, doing = client.server_state(page.store, job)
        if server:
            return server
        if doing != text:
            text = doing
            yield [gr.skip(), gr.skip(), note(page.say(doing)), *[gr.skip()] * (2 * COLUMNS)]
    return None


def _stream(
    page: Page,
    talk: Conversation,
    server: client.Server,
    answers: list[Answer],
    settings: Sampling,
    stop: threading.Event,
    wrong: list[str],
) -> Iterator[list]:
    """Yield the chats while the answers grow, at most 20 times per second; errors are added to `wrong`, as HTML."""
    events: queue.Queue = queue.Queue()
    for answer in answers:
        arguments = (page, talk, server, answer, settings, stop, events)
        threading.Thread(target=_pull, args=arguments, daemon=True).start()
    left = len(answers)
    while left:
        batch = [events.get()]
        stop.wait(_TICK)
        while not events.empty():
            batch.append(events.get())
        for answer, event in batch:
            left -= event is None
            _take(page, answer, event, wrong)
        yield [gr.skip(), gr.skip(), "".join(wrong), *growing(page, talk), *[gr.skip()] * COLUMNS]


def _take(page: Page, answer: Answer, event: str | client.AnswerEnd | Sentence | None, wrong: list[str]) -> None:
    """Write what came of an answer into its message."""
    message = answer.message
    if isinstance(event, str):
        message.content += event
    elif isinstance(event, Sentence):
        wrong.append(note(page.say(event), "bad"))
        message.facts = AnswerFacts(finish="error")
    elif isinstance(event, client.AnswerEnd):
        before = message.facts.tokens if answer.begun and message.facts else 0
        message.facts = AnswerFacts(
            finish=event.finish,
            tokens=before + event.tokens,
            first_token_seconds=event.first_token_seconds,
            tokens_per_second=event.tokens_per_second,
        )
    elif message.facts is None:
        message.facts = AnswerFacts(finish="cancelled")


def _pull(
    page: Page,
    talk: Conversation,
    server: client.Server,
    answer: Answer,
    settings: Sampling,
    stop: threading.Event,
    events: queue.Queue,
) -> None:
    """Stream one model's answer into `events` as (answer, event).

    An error is put as (answer, Sentence), the end of the stream as (answer, None).
    """
    try:
        asked = model_input(page, talk, answer.model, answer.message)
        if answer.begun:
            asked = (
                asked + answer.begun
                if isinstance(asked, str)
                else [*asked, {"role": "assistant", "content": answer.begun}]
            )
        options = {"adapter_scale": talk.columns[answer.model].scale} if answer.model != BASE else {}
        stream = client.stream_events(server, answer.model, asked, **settings.model_dump(mode="json"), **options)
        for event in stream:
            events.put((answer, event))
            if stop.is_set():
                stream.close()
                break
    except StudioError as error:
        events.put((answer, error.sentence))
    finally:
        events.put((answer, None))


def model_input(page: Page, talk: Conversation, model: str, message: Message) -> list[dict] | str:
    """Return what an answer is generated from: the conversation before it, or for a model that was fine-tuned on plain
    text the last message as a text to be continued.
    """
    messages = talk.messages(model, message.id)
    row = page.store.adapter(model) if model != BASE else None
    return messages[-1]["content"] if row and row["card"].get("task") == "text" else messages

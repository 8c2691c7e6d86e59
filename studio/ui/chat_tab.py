"""The Chat tab: the base model and adapters answer side by side, streamed from one loaded base model.

Answers come from the chat worker through `studio.chat.client`; the conversation history is kept only in the page. This
module contains no model code.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import gradio as gr

from studio.chat import client
from studio.chat.sampling import Sampling
from studio.data.reasoning import CLOSE, OPEN, join_reasoning, split_reasoning
from studio.library import shelf
from studio.ui import class_playground, serve_panel
from studio.ui.access import may_change, on_space
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, note
from studio.ui.page import Page
from studio.ui.suggestions import suggestions_html
from studio.words import Sentence, StudioError

BASE = "base"
_COLUMNS = 3  # maximum number of models that answer side by side
_stops: dict[str, threading.Event] = {}  # browser session hash → stop event of the answer being generated


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    with gr.Row(equal_height=True):
        base = gr.Dropdown(
            [("Starter", "starter")],
            value="starter",
            label=page.t("Base model"),
            scale=1,
            min_width=180,
            elem_id="chat-base",
        )
        chosen_models = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=_COLUMNS,
            label=page.t("Who answers (up to three, side by side)"),
            scale=3,
            min_width=280,
            elem_id="chat-models",
        )
    doing = gr.HTML(elem_id="chat-doing", apply_default_css=False)
    talk, play = build_talk(page), class_playground.build(page)
    # Ports of a Space's container cannot be reached from outside.
    serve = None if on_space() else serve_panel.build(page)

    def bind():
        bind_models(page, base, chosen_models, talk, play)
        bind_talk(page, base, chosen_models, doing, talk)
        bind_suggestions(page, base, chosen_models, doing, talk)
        if serve:
            serve_panel.bind(page, serve, base)

    return bind


def bind_models(page: Page, base, chosen_models, talk: SimpleNamespace, play: class_playground.Playground) -> None:
    """Bind the choice of base model and answering models to the columns, panels and classifier controls."""

    def offer(stamp, chosen_base, chosen, profile: gr.OAuthProfile | None):
        return offers(page, *requested_columns(page, stamp, chosen_base, chosen), owner=may_change(profile))

    def another_base(chosen_base, profile: gr.OAuthProfile | None):
        return offers(page, chosen_base, [], owner=may_change(profile))

    def classify(text, picture, chosen_base, chosen, profile: gr.OAuthProfile | None):
        asked = Turn(text, chosen_base, chosen, "", {}, [], owner=may_change(profile))
        _allowed(page, asked, chosen)
        yield from class_playground.classify(page, rows_of(page, chosen), chosen_base, text, picture)

    heads = [base, chosen_models, *talk.chats]
    for event in (page.parts["tab-chat"].select, partial(page.demo.load), page.changed.change):
        page.on(event, offer, [page.changed, base, chosen_models], heads)
    page.on(base.input, another_base, base, heads)
    page.on(chosen_models.input, lambda chosen: columns(page, chosen), chosen_models, talk.chats)
    page.on(chosen_models.change, lambda chosen: panels(page, chosen), chosen_models, [talk.column, *play.shown])
    given = [play.text, play.picture, base, chosen_models]
    for event in (play.ask.click, play.text.submit):
        page.on(event, classify, given, play.result, queue=True, concurrency_limit=8)


def asker(page: Page, again: bool):
    """Return the handler that sends a message or, with `again`, regenerates the last answer."""

    def ask(
        text,
        chosen_base,
        chosen,
        words,
        raw,
        first,
        second,
        third,
        request: gr.Request,
        profile: gr.OAuthProfile | None,
    ):
        histories = [without_answer(history) if again else history for history in (first, second, third)]
        turn = Turn(None if again else text, chosen_base, chosen, words, raw, histories, owner=may_change(profile))
        for update in answer(page, turn, request.session_hash or ""):
            yield [gr.skip(), *update[1:]] if again else update

    return ask


def bind_talk(page: Page, base, chosen_models, doing: gr.HTML, talk: SimpleNamespace) -> None:
    """Bind the buttons Send, Answer again, Stop and Clear."""
    given, shown = talk_inputs(base, chosen_models, talk), [talk.message, doing, *talk.chats]
    for event in (talk.send.click, talk.message.submit):
        page.on(event, asker(page, again=False), given, shown, queue=True, concurrency_limit=8)
    page.on(talk.again.click, asker(page, again=True), given, shown, queue=True, concurrency_limit=8)
    page.on(talk.stop.click, on_stop)
    page.on(talk.clear.click, lambda: ["", [], [], []], None, [doing, *talk.chats])


def talk_inputs(base, chosen_models, talk: SimpleNamespace) -> list:
    """Return the components whose values are sent with a message, in the order of the handler's parameters."""
    return [talk.message, base, chosen_models, talk.system, talk.sampling, *talk.chats]


def bind_suggestions(page: Page, base, chosen_models, doing: gr.HTML, talk: SimpleNamespace) -> None:
    """Update the suggested prompts when the chosen models change; a click on a prompt sends it."""

    def suggest(chosen, profile: gr.OAuthProfile | None):
        return suggestions_html(page, rows_of(page, chosen), owner=may_change(profile))

    def choose_suggestion(event: gr.EventData):
        return event.item

    page.on(chosen_models.change, suggest, chosen_models, talk.suggested)
    picked = page.on(talk.suggested.click, choose_suggestion, None, talk.message)
    given, shown = talk_inputs(base, chosen_models, talk), [talk.message, doing, *talk.chats]
    page.on(picked.then, asker(page, again=False), given, shown, queue=True, concurrency_limit=8)


def build_talk(page: Page) -> SimpleNamespace:
    """Create the conversation column: chats, suggestions, message box, buttons and generation settings."""
    with gr.Column() as column:
        chats = []
        with gr.Row(equal_height=True):
            for at in range(_COLUMNS):
                chats.append(
                    gr.Chatbot(
                        label=page.t("Base model") if at == 0 else "",
                        visible=at == 0,
                        height=380,
                        min_width=260,
                        elem_id=f"chat-{at}",
                        placeholder=page.t("Ask something: each model chosen above answers in its own column."),
                        buttons=["copy"],
                    )
                )
        suggested = Board(elem_id="suggestions")
        with gr.Row(elem_id="message-row"):
            message = gr.Textbox(
                label=page.t("Message"),
                placeholder=page.t("What would you like to ask?"),
                lines=1,
                max_lines=6,
                scale=6,
                elem_id="message",
            )
            send = gr.Button(page.t("Send"), variant="primary", scale=1, min_width=90, elem_id="send")
        with gr.Row(elem_id="chat-buttons"):
            stop = gr.Button(page.t("Stop"), size="sm", elem_id="chat-stop")
            again = gr.Button(page.t("Answer again"), size="sm", elem_id="regenerate")
            clear = gr.Button(page.t("Clear"), size="sm", elem_id="chat-clear")
        with gr.Accordion(page.t("System prompt and sampling"), open=False):
            system = gr.Textbox(label=page.t("System prompt"), lines=2, max_length=4000, elem_id="chat-system")
            sampling = OptionForm(Sampling, language=page.language, elem_id="sampling")
    return SimpleNamespace(
        column=column,
        suggested=suggested,
        chats=chats,
        message=message,
        send=send,
        stop=stop,
        again=again,
        clear=clear,
        system=system,
        sampling=sampling,
    )


@dataclass
class Turn:
    """A chat request: the message (None: regenerate the last answer), the models that answer it, and the settings."""

    text: str | None
    base: str
    chosen_models: list[str]
    system: str
    sampling: dict
    histories: list[list[dict]]
    owner: bool


def requested_columns(page: Page, stamp: str, base: str, chosen: list[str]) -> tuple[str, list[str]]:
    """Return the base model and the models chosen to answer, or those of the run opened with "Try it in Chat"."""
    run = stamp.partition(":")[0].removeprefix("chat ") if stamp.startswith("chat ") else ""
    row = page.store.adapter(run) if run else None
    if row is None or row["id"] in (chosen or []):
        return base, chosen
    return row["card"]["base"], [row["id"]] if class_playground.is_classifier(row) else [BASE, row["id"]]


def offers(page: Page, base: str, chosen: list[str], *, owner: bool) -> list:
    """Return updates of the base model and model dropdowns and of the chat columns.

    Adapters that no longer exist are removed from the choice. If nothing remains, or only the base model although it
    has adapters, the choice becomes the base model and its newest adapter; a classifier is chosen without the base
    model.
    """
    rows = [*shelf.listing(page.store, shown_only=not owner), *(page.store.previews() if owner else [])]
    bases = list(
        dict.fromkeys(
            [
                "starter",
                *([page.desk.draft()["model"].get("name", "starter")] if owner else []),
                *(row["card"]["base"] for row in rows),
            ]
        )
    )
    base = base if base in bases else bases[0]
    own = [row for row in rows if row["card"]["base"] == base]
    choices = [
        (page.t("Base model"), BASE),
        *((f"{row['name']} · {row['card'].get('summary', '')}", row["id"]) for row in own),
    ]
    known = {value for _, value in choices}
    kept = [chosen_model for chosen_model in chosen or [] if chosen_model in known]
    if not kept or (kept == [BASE] and own):
        newest = own[:1]
        kept = [
            *([] if newest and class_playground.is_classifier(newest[0]) else [BASE]),
            *(row["id"] for row in newest),
        ]
    return [gr.update(choices=bases, value=base), gr.update(choices=choices, value=kept), *columns(page, kept)]


def rows_of(page: Page, chosen_models: list[str]) -> list[dict]:
    """Return the store rows of the adapters among `chosen_models`."""
    return [
        row
        for chosen_model in chosen_models or []
        if chosen_model != BASE and (row := page.store.adapter(chosen_model))
    ]


def text_models(page: Page, chosen_models: list[str]) -> list[str]:
    """Return those of `chosen_models` that generate text; classifiers are left out."""
    mute = {row["id"] for row in rows_of(page, chosen_models) if class_playground.is_classifier(row)}
    return [chosen_model for chosen_model in chosen_models or [] if chosen_model and chosen_model not in mute]


def panels(page: Page, chosen_models: list[str]) -> list:
    """Return visibility updates of the conversation column and of the classifier's text and image inputs."""
    rows = rows_of(page, chosen_models)
    mute = bool(rows) and not text_models(page, chosen_models)
    return [gr.update(visible=not mute), *class_playground.visible(rows)]


def columns(page: Page, chosen_models: list[str]) -> list:
    """Return updates of the chat columns: one per text-generating model, with its name; the first is never hidden."""
    found = []
    chosen_models = text_models(page, chosen_models)
    for at in range(_COLUMNS):
        chosen_model = chosen_models[at] if at < len(chosen_models or []) else None
        row = page.store.adapter(chosen_model) if chosen_model and chosen_model != BASE else None
        found.append(
            gr.update(visible=chosen_model is not None or at == 0, label=row["name"] if row else page.t("Base model"))
        )
    return found


def on_stop(request: gr.Request) -> None:
    stop = _stops.get(request.session_hash or "")
    if stop:
        stop.set()


def plain(history: list[dict]) -> list[dict]:
    """Convert Gradio's messages to dicts of role and text.

    Gradio delivers the content as a list of parts, and the reasoning before an answer as a separate message; here the
    reasoning is joined to its answer again.
    """
    found, reasoning = [], ""
    for item in history or []:
        content = item["content"]
        text = (
            content
            if isinstance(content, str)
            else "".join(part.get("text", "") if isinstance(part, dict) else str(part) for part in content)
        )
        if (item.get("metadata") or {}).get("title"):
            reasoning = text
            continue
        found.append(
            {"role": item["role"], "content": join_reasoning(reasoning, text) if item["role"] == "assistant" else text}
        )
        reasoning = ""
    return found


def shown(page: Page, history: list[dict]) -> list[dict]:
    """Convert messages for display: reasoning becomes a collapsible message, pending until its closing tag arrives."""
    found = []
    for turn in history:
        text = turn["content"]
        if turn["role"] == "assistant" and text.lstrip().startswith(OPEN):
            reasoning, answer = split_reasoning(text)
            growing = CLOSE not in text
            if reasoning or growing:
                title = {"title": page.t("Thoughts"), "status": "pending" if growing else "done"}
                found.append(
                    {
                        "role": "assistant",
                        "content": text.lstrip().removeprefix(OPEN).strip() if growing else reasoning,
                        "metadata": title,
                    }
                )
            text = "" if growing else answer
        if text or turn["role"] != "assistant":
            found.append({**turn, "content": text})
    return found


def without_answer(history: list[dict]) -> list[dict]:
    """Return the history up to and including the last user message."""
    found = plain(history)
    while found and found[-1]["role"] == "assistant":
        found.pop()
    return found


def answer(page: Page, turn: Turn, session: str) -> Iterator[list]:
    """Generate the answers of all chosen models; yield updates of [message, doing, three conversations].

    Raises `StudioError` if no model is chosen, there is no message, a setting is invalid, or a model is not available.
    """
    text = (turn.text or "").strip()
    histories = [plain(history) for history in turn.histories]
    chosen_models = text_models(page, turn.chosen_models)[:_COLUMNS]
    if not chosen_models:
        raise StudioError("Choose who answers: the base model, an adapter, or several.")
    if turn.text is not None and not text:
        raise StudioError("There is no message yet: write something to send.")
    settings, wrong = form_values(turn.sampling, Sampling)
    if settings is None:
        raise StudioError(next(iter(wrong.values())))
    asked = [text] if text else []
    histories = [
        [*history, *({"role": "user", "content": item} for item in asked)] if at < len(chosen_models) else history
        for at, history in enumerate(histories)
    ]
    if not any(history and history[-1]["role"] == "user" for history in histories[: len(chosen_models)]):
        raise StudioError("There is no question to answer again: send a message first.")
    _allowed(page, turn, chosen_models)
    stop = _stops[session] = threading.Event()
    try:
        server = yield from _ready(page, turn, histories, stop)
        if server:
            yield from _stream(page, turn, server, chosen_models, histories, settings, stop)
    finally:
        stop.set()
        if _stops.get(session) is stop:  # another answer of this window may have begun meanwhile
            del _stops[session]


def _allowed(page: Page, turn: Turn, chosen_models: list[str]) -> None:
    """Check that the chosen models are available.

    Raises `StudioError` if an adapter does not exist or, for a visitor of a Space, if the owner does not show the
    adapter or the base model.
    """
    previews = page.store.previews() if turn.owner else []
    shown = {row["id"] for row in [*shelf.listing(page.store, shown_only=not turn.owner), *previews]}
    bases = {"starter", *(row["card"]["base"] for row in shelf.listing(page.store, shown_only=True))}
    if any(chosen_model != BASE and chosen_model not in shown for chosen_model in chosen_models) or not (
        turn.owner or turn.base in bases
    ):
        raise StudioError("One of the chosen models is not there any more; choose again who answers.")


def _ready(page: Page, turn: Turn, histories: list, stop: threading.Event):
    """Yield the chat worker's status until it is ready; return the server, or None if stopped."""
    settings = page.desk.inference_settings(turn.base)
    job = client.ensure_chat_server(page.store, page.home, turn.base, **settings)
    text = None
    while not stop.wait(0.05):
        server, doing = client.server_state(page.store, job)
        if server:
            return server
        if doing != text:
            text = doing
            yield ["", note(page.say(doing)), *(shown(page, history) for history in histories)]
    yield [gr.skip(), "", *(shown(page, history) for history in histories)]
    return None


def _stream(
    page: Page,
    turn: Turn,
    server: client.Server,
    chosen_models: list[str],
    histories: list,
    settings: Sampling,
    stop: threading.Event,
) -> Iterator[list]:
    """Yield the conversations while the answers of all models grow, at most 20 times per second."""
    pieces: queue.Queue = queue.Queue()
    for at, chosen_model in enumerate(chosen_models):
        threading.Thread(
            target=_pull,
            args=(page, turn, server, chosen_model, at, histories[at], settings, stop, pieces),
            daemon=True,
        ).start()
    text = [""] * len(chosen_models)
    wrong: list[str] = []
    left = len(chosen_models)
    while left:
        at, piece = pieces.get()
        batch = [(at, piece)]
        stop.wait(0.05)
        while not pieces.empty():
            batch.append(pieces.get())
        for at, piece in batch:
            if piece is None:
                left -= 1
            elif isinstance(piece, Sentence):
                wrong.append(note(page.say(piece), "bad"))
            else:
                text[at] += piece
        spoken = [
            [*history, {"role": "assistant", "content": text[at]}] if at < len(chosen_models) and text[at] else history
            for at, history in enumerate(histories)
        ]
        yield ["", "".join(wrong), *(shown(page, history) for history in spoken)]


def _pull(
    page: Page,
    turn: Turn,
    server: client.Server,
    chosen_model: str,
    at: int,
    history: list[dict],
    settings: Sampling,
    stop: threading.Event,
    pieces: queue.Queue,
) -> None:
    """Stream one model's answer into `pieces` as (column, text).

    An error is put as (column, Sentence), the end of the answer as (column, None).
    """
    row = page.store.adapter(chosen_model) if chosen_model != BASE else None
    writes = bool(row and row["card"].get("task") == "text")
    system = [{"role": "system", "content": turn.system.strip()}] if (turn.system or "").strip() else []
    asked = history[-1]["content"] if writes else [*system, *history]
    try:
        stream = client.stream(server.port, server.token, chosen_model, asked, **settings.model_dump(mode="json"))
        for piece in stream:
            pieces.put((at, piece))
            if stop.is_set():
                stream.close()
                break
    except StudioError as error:
        pieces.put((at, error.sentence))
    finally:
        pieces.put((at, None))

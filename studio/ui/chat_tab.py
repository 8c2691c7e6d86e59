"""The Chat tab: the base model and what was fine-tuned to it, side by side, streaming from one loaded base.

The words come from the chat worker through `studio.chat.client`; the conversation lives in the page itself. It knows
nothing about models.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import gradio as gr

from studio import hardware
from studio.chat import client
from studio.chat.sampling import Sampling
from studio.data.reasoning import CLOSE, OPEN, join_reasoning, split_reasoning
from studio.library import shelf
from studio.ui import class_playground
from studio.ui.access import may_change
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, note
from studio.ui.page import Page
from studio.ui.suggestions import suggestions_html
from studio.words import Sentence, StudioError

BASE = "base"
_COLUMNS = 3  # who can answer side by side
_stops: dict[str, threading.Event] = {}  # browser session → the answer that is being given in it


def build(page: Page):
    """Draw the tab; returns what binds it."""
    with gr.Row(equal_height=True):
        base = gr.Dropdown(
            [("Starter", "starter")],
            value="starter",
            label=page.t("Base model"),
            scale=1,
            min_width=180,
            elem_id="chat-base",
        )
        voices = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=_COLUMNS,
            label=page.t("Who answers (up to three, side by side)"),
            scale=3,
            min_width=280,
            elem_id="voices",
        )
    doing = gr.HTML(elem_id="chat-doing", apply_default_css=False)
    talk = build_talk(page)
    chats, message, system, sampling = talk.chats, talk.message, talk.system, talk.sampling
    play = class_playground.build(page)

    def bind():
        def offer(stamp, chosen_base, chosen, profile: gr.OAuthProfile | None):
            return offers(page, *requested_columns(page, stamp, chosen_base, chosen), owner=may_change(profile))

        def another_base(chosen_base, profile: gr.OAuthProfile | None):
            return offers(page, chosen_base, [], owner=may_change(profile))

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
            turn = Turn(text, chosen_base, chosen, words, raw, [first, second, third], owner=may_change(profile))
            yield from answer(page, turn, request.session_hash or "")

        def ask_again(
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
            histories = [without_answer(history) for history in (first, second, third)]
            turn = Turn(None, chosen_base, chosen, words, raw, histories, owner=may_change(profile))
            for update in answer(page, turn, request.session_hash or ""):
                yield [gr.skip(), *update[1:]]

        heads = [base, voices, *chats]
        for event in (page.parts["tab-chat"].select, partial(page.demo.load), page.changed.change):
            page.on(event, offer, [page.changed, base, voices], heads)
        page.on(base.input, another_base, base, heads)
        page.on(voices.input, lambda chosen: columns(page, chosen), voices, chats)
        page.on(voices.change, lambda chosen: panels(page, chosen), voices, [talk.column, *play.shown])

        def classify(text, picture, chosen_base, chosen, profile: gr.OAuthProfile | None):
            asked = Turn(text, chosen_base, chosen, "", {}, [], owner=may_change(profile))
            _allowed(page, asked, chosen)
            yield from class_playground.classify(page, rows_of(page, chosen), chosen_base, text, picture)

        for event in (play.ask.click, play.text.submit):
            page.on(
                event, classify, [play.text, play.picture, base, voices], play.result, queue=True, concurrency_limit=8
            )
        given, shown = [message, base, voices, system, sampling, *chats], [message, doing, *chats]
        for event in (talk.send.click, message.submit):
            page.on(event, ask, given, shown, queue=True, concurrency_limit=8)

        def suggest(chosen, profile: gr.OAuthProfile | None):
            return suggestions_html(page, rows_of(page, chosen), owner=may_change(profile))

        def pick(event: gr.EventData):
            return event.item

        page.on(voices.change, suggest, voices, talk.suggested)
        picked = page.on(talk.suggested.click, pick, None, message)
        page.on(picked.then, ask, given, shown, queue=True, concurrency_limit=8)
        page.on(talk.again.click, ask_again, given, shown, queue=True, concurrency_limit=8)
        page.on(talk.stop.click, on_stop)
        page.on(talk.clear.click, lambda: ["", [], [], []], None, [doing, *chats])

    return bind


def build_talk(page: Page) -> SimpleNamespace:
    """The conversations and what belongs to them, in one column."""
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
    """What was asked: a text (None: answer the last question again), of whom, and how."""

    text: str | None
    base: str
    voices: list[str]
    system: str
    sampling: dict
    histories: list[list[dict]]
    owner: bool


def requested_columns(page: Page, stamp: str, base: str, chosen: list[str]) -> tuple[str, list[str]]:
    """Base and voices, or those of the run that the person came from with "Try it in Chat"."""
    run = stamp.partition(":")[0].removeprefix("chat ") if stamp.startswith("chat ") else ""
    row = page.store.adapter(run) if run else None
    if row is None or row["id"] in (chosen or []):
        return base, chosen
    return row["card"]["base"], [row["id"]] if class_playground.is_classifier(row) else [BASE, row["id"]]


def offers(page: Page, base: str, chosen: list[str], *, owner: bool) -> list:
    """Bases and voices that can be chosen now; a voice that is gone is dropped, and with none chosen base and newest answer."""
    rows = shelf.listing(page.store, shown_only=not owner)
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
    kept = [voice for voice in chosen or [] if voice in known]
    if not kept or (kept == [BASE] and own):
        newest = own[:1]
        kept = [
            *([] if newest and class_playground.is_classifier(newest[0]) else [BASE]),
            *(row["id"] for row in newest),
        ]
    return [gr.update(choices=bases, value=base), gr.update(choices=choices, value=kept), *columns(page, kept)]


def rows_of(page: Page, voices: list[str]) -> list[dict]:
    """The adapters among `voices`."""
    return [row for voice in voices or [] if voice != BASE and (row := page.store.adapter(voice))]


def text_models(page: Page, voices: list[str]) -> list[str]:
    """Those of `voices` that answer in words."""
    mute = {row["id"] for row in rows_of(page, voices) if class_playground.is_classifier(row)}
    return [voice for voice in voices or [] if voice and voice not in mute]


def panels(page: Page, voices: list[str]) -> list:
    """What can be asked of `voices`: a conversation, a text or picture to classify, or both."""
    rows = rows_of(page, voices)
    mute = bool(rows) and not text_models(page, voices)
    return [gr.update(visible=not mute), *class_playground.visible(rows)]


def columns(page: Page, voices: list[str]) -> list:
    """One column for each voice that answers in words, with its name."""
    found = []
    voices = text_models(page, voices)
    for at in range(_COLUMNS):
        voice = voices[at] if at < len(voices or []) else None
        row = page.store.adapter(voice) if voice and voice != BASE else None
        found.append(
            gr.update(visible=voice is not None or at == 0, label=row["name"] if row else page.t("Base model"))
        )
    return found


def on_stop(request: gr.Request) -> None:
    stop = _stops.get(request.session_hash or "")
    if stop:
        stop.set()


def plain(history: list[dict]) -> list[dict]:
    """Gradio's messages as role and text: their content comes as a list of parts, and the reasoning before an answer as a message of its own."""
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
    """Messages as the chat draws them: the reasoning before an answer folded, open while it grows."""
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
    """The conversation up to its last question."""
    found = plain(history)
    while found and found[-1]["role"] == "assistant":
        found.pop()
    return found


def answer(page: Page, turn: Turn, session: str) -> Iterator[list]:
    """Updates of [message, doing, three conversations] while every voice answers."""
    text = (turn.text or "").strip()
    histories = [plain(history) for history in turn.histories]
    voices = text_models(page, turn.voices)[:_COLUMNS]
    if not voices:
        raise StudioError("Choose who answers: the base model, an adapter, or several.")
    if turn.text is not None and not text:
        raise StudioError("There is no message yet: write something to send.")
    settings, wrong = form_values(turn.sampling, Sampling)
    if settings is None:
        raise StudioError(next(iter(wrong.values())))
    asked = [text] if text else []
    histories = [
        [*history, *({"role": "user", "content": item} for item in asked)] if at < len(voices) else history
        for at, history in enumerate(histories)
    ]
    if not any(history and history[-1]["role"] == "user" for history in histories[: len(voices)]):
        raise StudioError("There is no question to answer again: send a message first.")
    _allowed(page, turn, voices)
    stop = _stops[session] = threading.Event()
    try:
        server = yield from _ready(page, turn, histories, stop)
        if server:
            yield from _stream(page, turn, server, voices, histories, settings, stop)
    finally:
        stop.set()
        _stops.pop(session, None)


def _allowed(page: Page, turn: Turn, voices: list[str]) -> None:
    """A visitor of a Space may use only what its owner shows."""
    shown = {row["id"] for row in shelf.listing(page.store, shown_only=not turn.owner)}
    bases = {"starter", *(row["card"]["base"] for row in shelf.listing(page.store, shown_only=True))}
    if any(voice != BASE and voice not in shown for voice in voices) or not (turn.owner or turn.base in bases):
        raise StudioError("One of the chosen models is not there any more; choose again who answers.")


def _ready(page: Page, turn: Turn, histories: list, stop: threading.Event):
    """Wait for the chat worker, saying what it does; returns the server, None if stopped."""
    draft = page.desk.draft()
    same = draft["model"].get("name") == turn.base
    quantisation = draft["machine"].get("quantisation", "none") if same else "none"
    device = hardware.choose_device("auto")
    job = client.ensure_chat_server(page.store, page.home, turn.base, quantisation=quantisation, device=device)
    said = None
    while not stop.wait(0.05):
        server, doing = client.server_state(page.store, job)
        if server:
            return server
        if doing != said:
            said = doing
            yield ["", note(page.say(doing)), *(shown(page, history) for history in histories)]
    yield [gr.skip(), "", *(shown(page, history) for history in histories)]
    return None


def _stream(
    page: Page,
    turn: Turn,
    server: client.Server,
    voices: list[str],
    histories: list,
    settings: Sampling,
    stop: threading.Event,
) -> Iterator[list]:
    """Every voice's words as they come, at most twenty times a second."""
    pieces: queue.Queue = queue.Queue()
    for at, voice in enumerate(voices):
        threading.Thread(
            target=_pull, args=(page, turn, server, voice, at, histories[at], settings, stop, pieces), daemon=True
        ).start()
    said = [""] * len(voices)
    wrong: list[str] = []
    left = len(voices)
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
                said[at] += piece
        spoken = [
            [*history, {"role": "assistant", "content": said[at]}] if at < len(voices) and said[at] else history
            for at, history in enumerate(histories)
        ]
        yield ["", "".join(wrong), *(shown(page, history) for history in spoken)]


def _pull(
    page: Page,
    turn: Turn,
    server: client.Server,
    voice: str,
    at: int,
    history: list[dict],
    settings: Sampling,
    stop: threading.Event,
    pieces: queue.Queue,
) -> None:
    """One voice's answer into `pieces`, ended by None."""
    row = page.store.adapter(voice) if voice != BASE else None
    writes = bool(row and row["card"].get("task") == "text")
    system = [{"role": "system", "content": turn.system.strip()}] if (turn.system or "").strip() else []
    asked = history[-1]["content"] if writes else [*system, *history]
    try:
        stream = client.stream(server.port, server.token, voice, asked, **settings.model_dump(mode="json"))
        for piece in stream:
            pieces.put((at, piece))
            if stop.is_set():
                stream.close()
                break
    except StudioError as error:
        pieces.put((at, error.sentence))
    finally:
        pieces.put((at, None))

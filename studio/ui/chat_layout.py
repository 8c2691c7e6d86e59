"""Components of the Chat tab's conversation: columns with their strength sliders, message box, buttons and settings."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from studio.chat.adapter_scale import MAX_SCALE
from studio.chat.sampling import Sampling
from studio.ui.form import OptionForm
from studio.ui.html_parts import Board
from studio.ui.page import Page

COLUMNS = 4  # maximum number of models that answer side by side


@dataclass
class ChatParts:
    """The components. columns, scales, chats, boards: one of each for every model that can answer.

    id: the conversation's id, hidden, kept in the address as ?chat=. boards: facts and actions below each column.
    system, sampling: not rendered yet.
    """

    base: gr.Dropdown
    models: gr.Dropdown
    id: gr.Textbox
    doing: gr.HTML
    conversation: gr.Column
    columns: list[gr.Column]
    scales: list[gr.Slider]
    chats: list[gr.Chatbot]
    boards: list[Board]
    suggested: Board
    message: gr.Textbox
    send: gr.Button
    stop: gr.Button
    again: gr.Button
    new: gr.Button
    system: gr.Textbox
    sampling: OptionForm

    @property
    def heads(self) -> list:
        """What depends on the chosen models."""
        return [*self.columns, *self.scales, *self.chats]

    @property
    def given(self) -> list:
        """What a turn is made from, in the order of the fields of `chat_turn.Turn`."""
        return [self.id, self.base, self.models, self.system, self.sampling, *self.scales]

    @property
    def shown(self) -> list:
        """What a turn updates."""
        return [self.message, self.id, self.doing, *self.chats, *self.boards]


def build(page: Page) -> ChatParts:
    """Create the components."""
    made: dict = {"id": gr.Textbox(visible="hidden", elem_id="chat-id", label=page.t("Conversation"))}
    with gr.Row(equal_height=True):
        made["base"] = gr.Dropdown(
            [("Starter", "starter")],
            value="starter",
            label=page.t("Base model"),
            scale=1,
            min_width=180,
            elem_id="chat-base",
        )
        made["models"] = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=COLUMNS,
            label=page.t("Who answers (up to four, side by side)"),
            scale=3,
            min_width=280,
            elem_id="chat-models",
        )
    with gr.Column(elem_id="conversation") as made["conversation"]:
        made["suggested"] = Board(elem_id="suggestions")
        with gr.Row(elem_id="chat-columns"):
            made |= _columns(page)
        made["doing"] = gr.HTML(elem_id="chat-doing", apply_default_css=False)
        made |= _message(page)
    return ChatParts(**made)


def _columns(page: Page) -> dict:
    columns, scales, chats, boards = [], [], [], []
    for at in range(COLUMNS):
        with gr.Column(visible=at == 0, min_width=250, elem_classes="chat-column") as column:
            chats.append(
                gr.Chatbot(
                    label=page.t("Base model") if at == 0 else "",
                    height="var(--chat-height)",
                    elem_id=f"chat-{at}",
                    placeholder=page.t("Ask something: each model chosen above answers in its own column."),
                    buttons=["copy"],
                    editable="all",
                )
            )
            scales.append(
                gr.Slider(
                    0,
                    MAX_SCALE,
                    1,
                    step=0.05,
                    visible=False,
                    label=page.t("Adapter strength"),
                    elem_id=f"scale-{at}",
                    elem_classes="chat-scale",
                )
            )
            boards.append(Board(elem_id=f"facts-{at}", elem_classes="chat-facts"))
        columns.append(column)
    return {"columns": columns, "scales": scales, "chats": chats, "boards": boards}


def _message(page: Page) -> dict:
    with gr.Row(elem_id="message-row"):
        message = gr.Textbox(
            label=page.t("Message"),
            show_label=False,
            container=False,
            placeholder=page.t("What would you like to ask?"),
            lines=1,
            max_lines=6,
            scale=6,
            min_width=200,
            elem_id="message",
        )
        send = gr.Button(page.t("Send"), variant="primary", scale=0, min_width=90, elem_id="send")
        stop = gr.Button(page.t("Stop"), scale=0, min_width=72, elem_id="chat-stop")
        again = gr.Button(page.t("Answer again"), scale=0, min_width=120, elem_id="regenerate")
        new = gr.Button(page.t("New chat"), scale=0, min_width=100, elem_id="chat-new")
    system = gr.Textbox(label=page.t("System prompt"), lines=2, max_length=4000, elem_id="chat-system", render=False)
    sampling = OptionForm(Sampling, language=page.language, elem_id="sampling", render=False)
    return {
        "message": message,
        "send": send,
        "stop": stop,
        "again": again,
        "new": new,
        "system": system,
        "sampling": sampling,
    }

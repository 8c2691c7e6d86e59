"""How a conversation is drawn: messages for Gradio's chat component, and the facts and actions below each column."""

from __future__ import annotations

from studio.chat.conversation import Column, Conversation, Message
from studio.data.reasoning import CLOSE, OPEN, join_reasoning, split_reasoning
from studio.ui.chat_models import BASE
from studio.ui.html_parts import button, e
from studio.ui.page import Page

_VERDICTS = {"up": "Like", "down": "Dislike", "": None}
_CUT = ("length", "cancelled", "error")  # how an answer ended that can be continued
_QUOTED = 40  # characters of a message in the list of versions


def drawn(page: Page, path: list[Message]) -> list[tuple[dict, int]]:
    """Return (message for the component, id of the message that it shows) in order: an answer that begins with
    reasoning is shown as two, the reasoning folded, and pending until its closing tag arrives.
    """
    return [(part, message.id) for message in path for part in _parts(page, message)]


def _parts(page: Page, message: Message) -> list[dict]:
    role, text = message.role, message.content
    if role == "user" or not text.lstrip().startswith(OPEN):
        return [{"role": role, "content": text}]
    reasoning, answer = split_reasoning(text)
    growing = CLOSE not in text
    found = []
    if reasoning or growing:
        found.append(
            {
                "role": role,
                "content": text.lstrip().removeprefix(OPEN).strip() if growing else reasoning,
                "metadata": {"title": page.t("Thoughts"), "status": "pending" if growing else "done"},
            }
        )
    return found if growing or not answer else [*found, {"role": role, "content": answer}]


def edited_text(page: Page, column: Column, index: int, text: str) -> tuple[Message, str]:
    """Return (the message at `index` of the component, its whole text after `text` was written there)."""
    part, id = drawn(page, column.path())[index]
    message = column.message(id)
    if message.role == "user" or not message.content.lstrip().startswith(OPEN):
        return message, text
    reasoning, answer = split_reasoning(message.content)
    return message, join_reasoning(text, answer) if "metadata" in part else join_reasoning(reasoning, text)


def verdicts(page: Page, path: list[Message]) -> list[str | None]:
    """Return the value of the component's thumbs for each shown message."""
    ids = [id for _, id in drawn(page, path)]
    by_id = {message.id: message for message in path}
    return [_VERDICTS[by_id[id].verdict] for id in ids]


def board_html(page: Page, talk: Conversation, model: str) -> str:
    """Return what stands below a column: for its last answer the facts and actions, then the versions of earlier
    messages.
    """
    column = talk.columns.get(model)
    path = column.path() if column else []
    answers = [message for message in path if message.role == "assistant"]
    if not path:
        return ""
    last = answers[-1] if answers and answers[-1] is path[-1] else None
    html = _answer_html(page, column, last, model, is_last=True) if last else ""
    if not last:
        html = f'<p class="answer-facts">{button(page.t("Answer again"), "again")}</p>'
    earlier = [message for message in path if message is not last and _has_news(column, message)]
    if not earlier:
        return html
    items = "".join(f"<li>{_earlier_html(page, column, message, model)}</li>" for message in earlier)
    opened = " open" if any(column.versions(message.id)[1] > 1 for message in earlier) else ""
    return (
        f'{html}<details class="earlier"{opened}><summary>{e(page.t("Earlier messages"))}</summary><ul>{items}</ul>'
        "</details>"
    )


def _has_news(column: Column, message: Message) -> bool:
    return bool(message.facts or message.verdict or column.versions(message.id)[1] > 1)


def _earlier_html(page: Page, column: Column, message: Message, model: str) -> str:
    words = message.content if len(message.content) <= _QUOTED else f"{message.content[:_QUOTED]}…"
    if message.role == "user":
        return f"<q>{e(words)}</q> {_versions_html(page, column, message)}"
    return f"<q>{e(words)}</q> {_answer_html(page, column, message, model, is_last=False)}"


def _answer_html(page: Page, column: Column, message: Message, model: str, *, is_last: bool) -> str:
    parts = [_versions_html(page, column, message)]
    parts.append(f'<span class="fact">{e(" · ".join(facts(page, message)))}</span>')
    parts += _teaches_text(page, message)
    buttons = []
    if is_last and message.facts and message.facts.finish in _CUT and not message.corrects:
        buttons.append(button(page.t("Continue"), "continue", str(message.id), kind="primary"))
    if is_last:
        buttons.append(button(page.t("Answer again"), "again"))
    if model != BASE and message.content.strip():
        buttons.append(button(page.t("What changed"), "compare", str(message.id)))
    return f'<p class="answer-facts">{"".join(parts)}</p><p class="answer-facts">{"".join(buttons)}</p>'


def _versions_html(page: Page, column: Column, message: Message) -> str:
    at, count = column.versions(message.id)
    if count == 1:
        return ""
    first = page.t("Only from the second version on") if at == 1 else ""
    last = page.t("This is the newest version") if at == count else ""
    return (
        '<span class="versions">'
        f"{button('‹', 'earlier', str(message.id), disabled=first, says=page.t('Earlier version'))}"
        f"<span>{at}/{count}</span>"
        f"{button('›', 'later', str(message.id), disabled=last, says=page.t('Later version'))}</span>"
    )


def facts(page: Page, message: Message) -> list[str]:
    """Return what is known about an answer: its tokens, their speed, the time to the first one, and why it ended."""
    if message.corrects:
        return [page.t("Written by you")]
    if message.facts is None:
        return []
    ends = {
        "length": page.t("Cut at the answer length"),
        "cancelled": page.t("Stopped by you"),
        "error": page.t("Cut by an error"),
        "tool_calls": page.t("Ended with a tool call"),
    }
    told = message.facts
    found = []
    if told.tokens:
        found.append(page.t("{count} {count:token|tokens}", count=told.tokens))
        if told.tokens_per_second:
            found.append(page.t("{speed} tokens/s", speed=f"{told.tokens_per_second:.3g}"))
        found.append(page.t("first token after {seconds} s", seconds=f"{told.first_token_seconds:.2f}"))
    return [*found, ends.get(told.finish, page.t("Ended by itself"))]


def _teaches_text(page: Page, message: Message) -> list[str]:
    """Return what the answer teaches, with a button that takes it back."""
    text = {"up": page.t("Marked as good"), "down": page.t("Marked as bad")}.get(message.verdict, "")
    if message.corrects:
        text = text or page.t("Kept as a correction")
    if not text:
        return []
    return [f'<span class="fact teaches">{e(text)}</span>', button(page.t("Undo"), "withdraw-verdict", str(message.id))]

"""The view “What changed”: an adapter's answer with its tokens coloured by how much less likely the base found them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import gradio as gr

from studio.chat import client
from studio.ui.chat_layout import ChatParts
from studio.ui.chat_models import name_of, require_available
from studio.ui.chat_turn import Turn, model_input, turn_handler
from studio.ui.html_parts import e, note, table
from studio.ui.page import Page
from studio.words import StudioError

_FULL_COLOUR = 4.0  # difference of log-probabilities from which on the colour is not stronger any more
_SHOW = "() => { document.querySelector('#what-changed section')?.scrollIntoView({block: 'nearest'}); return []; }"
_MANY = math.log(2)  # a token is called changed if it became at least twice, or at most half, as likely


def build(page: Page) -> gr.HTML:
    """Create the view, empty until it is asked for."""
    return gr.HTML(elem_id="what-changed", apply_default_css=False)


def bind(page: Page, parts: ChatParts, view: gr.HTML) -> None:
    """Bind the buttons “What changed” of each column; another turn or conversation empties the view."""
    for at, board in enumerate(parts.boards):
        compared = page.on(board.click, comparer(page, at), parts.given, view, queue=True, concurrency_limit=4)
        page.on(compared.then, None, None, None, js=_SHOW)
    page.on(parts.id.change, lambda: "", None, view)


def comparer(page: Page, at: int):
    """Return the handler of “What changed” in column `at`."""

    def compare(turn: Turn, event: gr.EventData) -> Iterator[str]:
        if event.act != "compare":
            yield ""  # another turn: the view is about the one before
            return
        talk = turn.conversations(page).load(turn.id)
        if talk is None or at >= len(talk.shown):
            raise StudioError("This conversation does not exist any more.")
        model = talk.shown[at]
        require_available(page, turn.base, [model], owner=turn.owner)
        message, column = talk.columns[model].message(int(event.item)), talk.columns[model]
        yield note(page.t("Comparing with the base model"))
        settings = page.editor.inference_settings(turn.base)
        job = client.ensure_chat_server(page.store, page.home, turn.base, **settings)
        server = client.wait_ready(page.store, job)
        asked = model_input(page, talk, model, message)
        tokens = client.compare(server, model, asked, message.content, column.scale)
        yield changed_html(page, name_of(page, model), tokens)

    return turn_handler(compare, event=gr.EventData)


def changed_html(page: Page, name: str, tokens: list[dict]) -> str:
    """Return the coloured answer with its legend, and its numbers as a table. tokens: see `client.compare`."""
    differences = [token["logprob"] - token["base_logprob"] for token in tokens]
    more = sum(difference >= _MANY for difference in differences)
    mean = sum(differences) / len(differences)
    words = "".join(_token_html(page, token, difference) for token, difference in zip(tokens, differences, strict=True))
    rows = [
        [_visible(token["token"]), _share(token["logprob"]), _share(token["base_logprob"]), _times(difference)]
        for token, difference in zip(tokens, differences, strict=True)
    ]
    heads = [page.t("Token"), page.t("Adapter"), page.t("Base model"), page.t("Times as likely")]
    summary = page.t(
        "{more} of {count} tokens are at least twice as likely as for the base model; on average each is {times} times "
        "as likely.",
        more=more,
        count=len(tokens),
        times=f"{math.exp(min(mean, 50)):.3g}",
    )
    return (
        f'<section class="what-changed"><h3>{e(page.t("What changed: {name}", name=name))}</h3>'
        f'<p class="help">{e(summary)}</p>{_legend_html(page)}<p class="tokens" tabindex="0">{words}</p>'
        f"<details><summary>{e(page.t('The numbers as a table'))}</summary>{table(heads, rows)}</details></section>"
    )


def _token_html(page: Page, token: dict, difference: float) -> str:
    strength = min(1.0, abs(difference) / _FULL_COLOUR)
    side = "more" if difference > 0 else "less"
    hint = page.t(
        "Adapter {own}, base model {base}: {times} times as likely",
        own=_share(token["logprob"]),
        base=_share(token["base_logprob"]),
        times=_times(difference),
    )
    return (
        f'<span class="changed {side}" style="--strength:{strength:.2f}" title="{e(hint)}">{e(token["token"])}</span>'
    )


def _legend_html(page: Page) -> str:
    entries = [
        ("more", 1.0, page.t("much more likely with the adapter")),
        ("more", 0.4, page.t("somewhat more likely")),
        ("more", 0.0, page.t("as likely")),
        ("less", 0.4, page.t("somewhat less likely")),
        ("less", 1.0, page.t("much less likely with the adapter")),
    ]
    items = "".join(
        f'<li><span class="changed {side}" style="--strength:{strength}" aria-hidden="true">&nbsp;&nbsp;</span> '
        f"{e(text)}</li>"
        for side, strength, text in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _share(logprob: float) -> str:
    share = 100 * math.exp(logprob)
    return f"{share:.3g} %" if share >= 0.01 else "< 0.01 %"


def _times(difference: float) -> str:
    times = math.exp(max(-50.0, min(difference, 50.0)))
    return f"{times:,.0f}" if times >= 100 else f"{times:.3g}"


def _visible(text: str) -> str:
    return text.replace("\n", "⏎").replace(" ", "␣") or "…"

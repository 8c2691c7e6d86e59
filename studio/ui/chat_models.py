"""Which models answer in Chat: the offered bases and adapters, and the columns that show the chosen ones."""

from __future__ import annotations

import gradio as gr

from studio.chat.adapter_scale import scale_refusal
from studio.library import adapter_store
from studio.ui import class_playground
from studio.ui.access import may_change
from studio.ui.chat_layout import COLUMNS, ChatParts
from studio.ui.page import Page
from studio.words import StudioError

BASE = "base"


def bind(page: Page, parts: ChatParts, play: class_playground.Playground) -> None:
    """Bind the choice of base model and answering models to the columns, panels and classifier controls."""

    def offer(stamp, chosen_base, chosen, profile: gr.OAuthProfile | None):
        return offers(page, *requested_columns(page, stamp, chosen_base, chosen), owner=may_change(profile))

    def offer_for_draft(_, stamp, chosen_base, chosen, profile: gr.OAuthProfile | None):
        return offer(stamp, chosen_base, chosen, profile)

    def another_base(chosen_base, profile: gr.OAuthProfile | None):
        return offers(page, chosen_base, [], owner=may_change(profile))

    def classify(text, picture, chosen_base, chosen, profile: gr.OAuthProfile | None):
        require_available(page, chosen_base, chosen, owner=may_change(profile))
        yield from class_playground.classify(page, rows_of(page, chosen), chosen_base, text, picture)

    heads = [parts.base, parts.models, *parts.heads]
    asked = [page.changed, parts.base, parts.models]
    page.on(page.parts["tab-chat"].select, offer, asked, heads)
    page.on_draft("chat", offer_for_draft, asked, heads)
    page.on(parts.base.input, another_base, parts.base, heads)
    page.on(parts.models.input, lambda chosen: columns(page, chosen), parts.models, parts.heads)
    page.on(parts.models.change, lambda chosen: panels(page, chosen), parts.models, [parts.conversation, *play.shown])
    given = [play.text, play.picture, parts.base, parts.models]
    for event in (play.ask.click, play.text.submit):
        page.on(event, classify, given, play.result, queue=True, concurrency_limit=8)


def requested_columns(page: Page, stamp: str, base: str, chosen: list[str]) -> tuple[str, list[str]]:
    """Return the base model and the models chosen to answer, or those of the run opened with "Try it in Chat"."""
    run = stamp.partition(":")[0].removeprefix("chat ") if stamp.startswith("chat ") else ""
    row = page.store.adapter(run) if run else None
    if row is None or row["id"] in (chosen or []):
        return base, chosen
    return row["card"]["base"], [row["id"]] if class_playground.is_classifier(row) else [BASE, row["id"]]


def offers(page: Page, base: str, chosen: list[str], *, owner: bool) -> list:
    """Return updates of the base model and model dropdowns and of the columns.

    Adapters that no longer exist are removed from the choice. If nothing remains, or only the base model although it
    has adapters, the choice becomes the base model and its newest adapter; a classifier is chosen without the base
    model.
    """
    rows = [*adapter_store.listing(page.store, shown_only=not owner), *(page.store.previews() if owner else [])]
    bases = list(
        dict.fromkeys(
            [
                "starter",
                *([page.editor.draft()["model"].get("name", "starter")] if owner else []),
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
    kept = [model for model in chosen or [] if model in known]
    if not kept or (kept == [BASE] and own):
        newest = own[:1]
        kept = [
            *([] if newest and class_playground.is_classifier(newest[0]) else [BASE]),
            *(row["id"] for row in newest),
        ]
    return [gr.update(choices=bases, value=base), gr.update(choices=choices, value=kept), *columns(page, kept)]


def rows_of(page: Page, models: list[str]) -> list[dict]:
    """Return the store rows of the adapters among `models`."""
    return [row for model in models or [] if model != BASE and (row := page.store.adapter(model))]


def name_of(page: Page, model: str) -> str:
    """Return the displayed name of a model."""
    row = page.store.adapter(model) if model != BASE else None
    return row["name"] if row else page.t("Base model")


def text_models(page: Page, models: list[str]) -> list[str]:
    """Return those of `models` that generate text, at most as many as there are columns; classifiers are left out."""
    mute = {row["id"] for row in rows_of(page, models) if class_playground.is_classifier(row)}
    return [model for model in models or [] if model and model not in mute][:COLUMNS]


def panels(page: Page, models: list[str]) -> list:
    """Return visibility updates of the conversation and of the classifier's text and image inputs."""
    rows = rows_of(page, models)
    mute = bool(rows) and not text_models(page, models)
    return [gr.update(visible=not mute), *class_playground.visible(rows)]


def columns(page: Page, models: list[str]) -> list:
    """Return updates of `ChatParts.heads`: a column for each text-generating model; the first is never hidden."""
    chosen: list[str | None] = [*text_models(page, models), *[None] * COLUMNS][:COLUMNS]
    return [
        *(gr.update(visible=model is not None or at == 0) for at, model in enumerate(chosen)),
        *(scale_update(page, model) for model in chosen),
        *(gr.update(label=name_of(page, model or BASE)) for model in chosen),
    ]


def scale_update(page: Page, model: str | None) -> dict:
    """Return the update of a column's strength slider: hidden for the base, and locked with the reason for an adapter
    that has no strength.
    """
    row = page.store.adapter(model) if model not in (None, BASE) else None
    if row is None:
        return gr.update(visible=False, value=1)
    refusal = scale_refusal(page.home.adapter(row["id"]), row["card"])
    if refusal:
        return gr.update(visible=True, value=1, interactive=False, info=page.say(refusal))
    return gr.update(visible=True, interactive=True, info=page.t("0: the base model · 1: as trained"))


def require_available(page: Page, base: str, models: list[str], *, owner: bool) -> None:
    """Check that the chosen models are available.

    Raises `StudioError` if an adapter does not exist or, for a visitor of a Space, if the owner does not show the
    adapter or the base model.
    """
    previews = page.store.previews() if owner else []
    shown = {row["id"] for row in [*adapter_store.listing(page.store, shown_only=not owner), *previews]}
    bases = {"starter", *(row["card"]["base"] for row in adapter_store.listing(page.store, shown_only=True))}
    if any(model != BASE and model not in shown for model in models) or not (owner or base in bases):
        raise StudioError("One of the chosen models is not there any more; choose again who answers.")

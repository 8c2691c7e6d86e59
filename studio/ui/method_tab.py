"""The Method tab: the base model and the fine-tuning method. Cards, options and counts come from `studio.methods`.

This module contains no code for a particular method.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import gradio as gr

from studio import hardware
from studio.forecast import fits
from studio.jobs import client
from studio.library import adapter_store, continuing
from studio.methods import FAMILIES, METHODS, Method
from studio.models.catalogue import catalogue, catalogue_entry
from studio.models.resolve import is_hub_id, local_folder
from studio.options import form_fields
from studio.ui import hub_search
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, button, e, facts, note, number, size
from studio.ui.method_cards import COMMON, cards_html, compare_html, recommended_html, share
from studio.ui.page import Page
from studio.words import Sentence, StudioError


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.follow_draft("method")
    with gr.Row(equal_height=True):
        offers = [(f"{offer.title} · {_billions(offer.parameters)}", offer.id) for offer in catalogue()]
        model = gr.Dropdown(
            offers,
            label=page.t("Base model: choose one, or type a local folder or a hub id"),
            allow_custom_value=True,
            scale=4,
            elem_id="base-model",
        )
    bind_search = hub_search.build(
        page, "model", lambda name: page.editor.change(model={"name": name, "revision": None})
    )
    about = Board(elem_id="about-model")
    recommended = Board(elem_id="recommended")
    family, search = build_filter(page)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            cards = Board(elem_id="methods")
        with gr.Column(scale=2, min_width=300, elem_id="method-options"):
            chosen = gr.HTML(elem_id="chosen-method", apply_default_css=False)
            form = OptionForm(language=page.language, elem_id="method-form", adapters=partial(adapters, page))
    with gr.Accordion(page.t("Compare two methods"), open=False, elem_id="compare") as fold:
        pair = gr.Dropdown(
            [(page.t(method.title), name) for name, method in METHODS.items()],
            value=[],
            multiselect=True,
            max_choices=2,
            label=page.t("Methods"),
            elem_id="compare-methods",
        )
        table = gr.HTML(elem_id="compared", apply_default_css=False)
    timer = gr.Timer(1.0, active=False)
    parts = Parts(model, about, recommended, family, search, cards, chosen, form, fold, pair, table, timer)

    def bind_all():
        bind(page, parts)
        bind_search()

    return bind_all


def build_filter(page: Page) -> tuple[gr.Radio, gr.Textbox]:
    """Create the controls that choose which method cards are shown: their family and a search text."""
    with gr.Row(equal_height=True):
        family = gr.Radio(
            [
                (page.t("Most used"), COMMON),
                (page.t("All"), ""),
                *(
                    (page.t(title), key)
                    for key, title in FAMILIES.items()
                    if any(m.family == key for m in METHODS.values())
                ),
            ],
            value=COMMON,
            label=page.t("Family"),
            scale=3,
            min_width=280,
            elem_id="family",
        )
        search = gr.Textbox(
            label=page.t("Search"),
            placeholder=page.t("name or purpose"),
            scale=1,
            min_width=160,
            elem_id="method-search",
        )
    return family, search


class Parts(NamedTuple):
    """The components of the tab."""

    model: gr.Dropdown
    about: Board
    recommended: Board
    family: gr.Radio
    search: gr.Textbox
    cards: Board
    chosen: gr.HTML
    form: OptionForm
    fold: gr.Accordion
    pair: gr.Dropdown
    table: gr.HTML
    timer: gr.Timer


def bind(page: Page, parts: Parts) -> None:
    """Bind the event handlers of the tab."""
    form = parts.form

    def choose_model(name: str | None):
        name = (name or "").strip()
        if not name or name == page.editor.draft()["model"].get("name"):
            return gr.skip()
        page.editor.change(model={"name": name, "revision": None})
        return page.stamp("model")

    def press_card(names: list[str], event: gr.EventData):
        if event.act == "compare":
            return gr.skip(), gr.update(value=pair_with(names, event.item)), gr.update(open=True)
        page.editor.choose_method(event.item)
        return page.stamp("method"), gr.skip(), gr.skip()

    def edit(raw: dict):
        cls = METHODS[page.editor.draft()["method"]["name"]]
        made, wrong = form_values(raw, cls)
        page.editor.change(
            method={"name": cls.model_fields["name"].default, **(made.model_dump(mode="json") if made else raw)}
        )
        return form.complain(wrong), page.stamp("method-form")

    def download(event: gr.EventData):
        if event.act == "download":
            client.start_job(page.store, "inspect", {"model": event.item})
        elif event.act == "stop":
            client.stop(page.store, int(event.item))
        elif event.act == "start-anew":
            page.editor.change(model={**page.editor.draft()["model"], "adapter": None})
            return gr.skip(), page.stamp("model")
        return gr.Timer(active=True), gr.skip()

    def watch():
        job = fetching(page, page.editor.draft()["model"].get("name", ""))
        live = bool(job and job["state"] in ("queued", "running"))
        return model_html(page), gr.Timer(active=live), gr.skip() if live else page.stamp("fetched")

    page.on(parts.model.change, choose_model, parts.model, page.changed, changes=True)
    for board in (parts.recommended, parts.cards):
        page.on(board.click, press_card, parts.pair, [page.changed, parts.pair, parts.fold], changes=True)
    page.on(
        parts.pair.change,
        lambda names: compare_html(page, page.editor.preflight(), names or []),
        parts.pair,
        parts.table,
        shows="recipes",
    )
    page.on(form.input, edit, form, [form, page.changed], changes=True)
    page.on(page.parts["tab-method"].select, lambda: refreshed(page, form), None, form, shows="recipes")
    page.on(parts.about.click, download, None, [parts.timer, page.changed], changes=True)
    page.on(parts.timer.tick, watch, None, [parts.about, parts.timer, page.changed], shows="recipes")
    for control in (parts.family.change, parts.search.change):
        page.on(
            control,
            lambda kind, words: cards_html(page, page.editor.preflight(), page.editor.draft(), kind, words),
            [parts.family, parts.search],
            parts.cards,
            shows="recipes",
        )
    page.on_draft(
        "method",
        lambda *asked: draw(page, form, *asked),
        [parts.family, parts.search, parts.pair],
        [parts.model, parts.about, parts.recommended, parts.cards, parts.chosen, form, parts.table],
        shows="recipes",
    )


def pair_with(names: list[str] | None, name: str) -> list[str]:
    """Return the two methods to compare after `name` was added; the older of two earlier choices is dropped."""
    return [*[other for other in names or [] if other != name][-1:], name]


def draw(page: Page, form: OptionForm, stamp: str, kind: str, words: str, names: list[str]) -> list:
    """Return updates of the whole tab from the draft."""
    origin = stamp.partition(":")[0]
    if origin in ("split", "roles"):
        return [gr.skip()] * 7
    draft, preflight = page.editor.draft(), page.editor.preflight()
    method = METHODS.get(draft["method"].get("name"))
    own = origin in ("model", "fetched", "method", "method-form")  # do not overwrite a model name that is being typed
    same = origin in ("method-form", "training")  # the cards show each method with its default options
    return [
        gr.skip() if own else gr.update(value=draft["model"].get("name")),
        model_html(page),
        recommended_html(page, preflight, draft),
        gr.skip() if same else cards_html(page, preflight, draft, kind, words),
        chosen_html(page, method),
        gr.skip() if same or method is None else form.show(method, values=draft["method"]),
        compare_html(page, preflight, names or []),
    ]


def adapters(page: Page, kind: str, made_with: dict) -> dict[str, str]:
    """Return {id: name} of the library adapters that an option can choose from.

    These are the adapters that ship as `kind`, were trained with the method options `made_with`, and belong to the
    draft's base model.
    """
    rows = adapter_store.listing(page.store, base=page.editor.draft()["model"].get("name", ""))
    return {
        row["id"]: f"{row['name']} · {row['card'].get('summary', '')}"
        for row in rows
        if row["card"].get("artefact_type") == kind
        and made_with.items() <= row["card"].get("recipe", {}).get("method", {}).items()
    }


def refreshed(page: Page, form: OptionForm):
    """Return an update of the form if it lists library adapters, which may have changed since it was drawn."""
    draft = page.editor.draft()
    method = METHODS.get(draft["method"].get("name"))
    offers = method is not None and any(field["adapters"] for field in form_fields(method))
    return form.show(method, values=draft["method"]) if offers else gr.skip()


def fetching(page: Page, name: str) -> dict | None:
    """Return the newest job that downloads the model `name`, or None."""
    return next((job for job in reversed(page.store.jobs(kind="inspect")) if job["payload"].get("model") == name), None)


def model_html(page: Page) -> str:
    """Return facts about the chosen base model, with a Download button if it is not available locally."""
    preflight = page.editor.preflight()
    name = page.editor.draft()["model"].get("name", "")
    offer = catalogue_entry(name)
    pairs = []
    if preflight.shape:
        pairs = [
            (page.t("Parameters"), number(preflight.shape.parameters)),
            (page.t("Layers"), str(preflight.shape.layers)),
            (page.t("Width"), str(preflight.shape.hidden)),
            (page.t("Context"), page.t("{count} tokens", count=f"{preflight.shape.context:,}")),
            (page.t("Architecture"), preflight.shape.architecture),
            (page.t("On disk"), size(preflight.shape.bytes)),
        ]
    elif offer:
        pairs = [
            (page.t("Parameters"), _billions(offer.parameters)),
            (page.t("Context"), page.t("{count} tokens", count=f"{offer.context:,}")),
        ]
    if offer:
        pairs += [
            (page.t("Licence"), offer.licence),
            (
                page.t("Access"),
                page.t("licence must be accepted on the hub") if offer.gated else page.t("free to download"),
            ),
        ]
    text = f'<p class="help">{e(page.t(offer.note))}</p>' if offer and offer.note else ""
    tight = (
        fits(offer, hardware.machine(), preflight.recipe.method, quantisation=preflight.recipe.quantisation)
        if offer and not preflight.wrong
        else None
    )
    return (
        _start_html(page)
        + text
        + facts(pairs)
        + (note(page.say(tight), "warn") if tight else "")
        + _fetch_html(page, name, preflight.problems.get("model"))
    )


def _start_html(page: Page) -> str:
    """Return which adapter the run continues from, with a button to stop doing so; "" if it starts anew."""
    start = continuing.start_of(page.store, page.editor.preflight().recipe)
    if not start:
        return ""
    message = page.t("Training continues from the adapter '{name}', with its method and options.", name=start)
    return note(message, "good") + f'<p class="actions">{button(page.t("Start anew instead"), "start-anew")}</p>'


def _fetch_html(page: Page, name: str, problem: Sentence | None) -> str:
    job = fetching(page, name)
    if job and job["state"] in ("queued", "running"):
        return note(page.say(job["doing"]) or page.t("Waiting for a worker")) + button(
            page.t("Stop"), "stop", str(job["id"])
        )
    if problem is None:
        return ""
    message = note(page.say(problem), "warn")
    if job and job["state"] == "failed":
        message = note(page.say(job["reason"]), "bad")
    try:
        missing = is_hub_id(name) and local_folder(name) is None
    except StudioError:
        missing = False
    return message + (button(page.t("Download {name}", name=name), "download", name, kind="primary") if missing else "")


def chosen_html(page: Page, method: type[Method] | None) -> str:
    """Return the heading of the method's options, with the current number of trainable parameters."""
    preflight = page.editor.preflight()
    if method is None:
        return note(page.t("Choose a method."), "warn")
    problem = preflight.problems.get("method")
    message = note(page.say(problem), "bad") if problem else ""
    if preflight.shape and "method" not in preflight.wrong and not problem:
        count = preflight.recipe.method.parameter_count(preflight.shape)
        counted = page.t(
            "Trainable parameters: {count} of {all}.",
            count=share(count, preflight.shape),
            all=number(preflight.shape.parameters),
        )
        message = f'<p class="count" aria-live="polite">{e(counted)}</p>'
        if remark := preflight.recipe.method.remark(preflight.shape):
            message += note(page.say(remark), "warn")
    return f"<h3>{e(page.t('Options of {method}', method=page.t(method.title)))}</h3>{message}"


def _billions(count: float) -> str:
    return f"{count:.3g} B" if count >= 0.1 else f"{count * 1000:.2g} M"

"""The Method tab: the base model, and how it is taught. Cards, options and counts all come from `studio.methods`.

It knows nothing about any single method.
"""

from __future__ import annotations

import gradio as gr

from studio import hardware
from studio.jobs import client
from studio.library import shelf
from studio.methods import FAMILIES, METHODS, Method
from studio.models.catalogue import catalogue, fits, offer_of
from studio.models.resolve import is_hub_id, local_folder
from studio.models.shape import Shape
from studio.options import form_fields
from studio.ui.board import Board, button, chip, e, facts, note, number, size
from studio.ui.form import OptionForm, form_values
from studio.ui.page import Page
from studio.words import Sentence, StudioError


def build(page: Page):
    """Draw the tab; returns what binds it."""
    with gr.Row(equal_height=True):
        offers = [(f"{offer.title} · {_billions(offer.parameters)}", offer.id) for offer in catalogue()]
        model = gr.Dropdown(offers, label=page.t("Base model: choose one, or type a local folder or a hub id"), allow_custom_value=True, scale=4, elem_id="base-model")
    about = Board(elem_id="about-model")
    with gr.Row(equal_height=True):
        family = gr.Radio([(page.t("All"), ""), *((page.t(title), key) for key, title in FAMILIES.items() if any(m.family == key for m in METHODS.values()))],
                          value="", label=page.t("Family"), scale=3, elem_id="family")
        search = gr.Textbox(label=page.t("Search"), placeholder=page.t("name or purpose"), scale=1, min_width=160, elem_id="method-search")
    cards = Board(elem_id="methods")
    chosen = gr.HTML(elem_id="chosen-method", apply_default_css=False)
    form = OptionForm(language=page.language, elem_id="method-form", adapters=lambda kind: adapters(page, kind))
    timer = gr.Timer(1.0, active=False)
    outputs = [model, about, cards, chosen, form]

    def bind():
        def choose_model(name: str | None):
            name = (name or "").strip()
            if not name or name == page.desk.draft()["model"].get("name"):
                return gr.skip()
            page.desk.change(model={"name": name, "revision": None})
            return page.stamp("model")

        def choose_method(event: gr.EventData):
            page.desk.choose_method(event.item)
            return page.stamp("method")

        def edit(raw: dict):
            cls = METHODS[page.desk.draft()["method"]["name"]]
            made, wrong = form_values(raw, cls)
            page.desk.change(method={"name": cls.model_fields["name"].default, **(made.model_dump(mode="json") if made else raw)})
            return form.complain(wrong), page.stamp("method-form")

        def download(event: gr.EventData):
            if event.act == "download":
                client.start_job(page.store, "inspect", {"model": event.item})
            elif event.act == "stop":
                client.stop(page.store, int(event.item))
            return gr.Timer(active=True)

        def watch():
            job = fetching(page, page.desk.draft()["model"].get("name", ""))
            live = bool(job and job["state"] in ("queued", "running"))
            return model_html(page), gr.Timer(active=live), gr.skip() if live else page.stamp("fetched")

        page.on(model.change, choose_model, model, page.changed, changes=True)
        page.on(cards.click, choose_method, None, page.changed, changes=True)
        page.on(form.input, edit, form, [form, page.changed], changes=True)
        page.on(page.parts["tab-method"].select, lambda: refreshed(page, form), None, form)
        page.on(about.click, download, None, timer, changes=True)
        page.on(timer.tick, watch, None, [about, timer, page.changed])
        for control in (family.change, search.change):
            page.on(control, lambda kind, words: cards_html(page, kind, words), [family, search], cards)
        page.on(page.changed.change, lambda stamp, kind, words: draw(page, stamp, form, kind, words), [page.changed, family, search], outputs)

    return bind


def draw(page: Page, stamp: str, form: OptionForm, kind: str, words: str) -> list:
    """The whole tab from the draft."""
    origin = stamp.partition(":")[0]
    if origin in ("training", "split", "roles"):
        return [gr.skip()] * 5
    draft = page.desk.draft()
    method = METHODS.get(draft["method"].get("name"))
    own = origin in ("model", "fetched", "method", "method-form")  # the person may be typing the next model's name by now
    return [
        gr.skip() if own else gr.update(value=draft["model"].get("name")), model_html(page), cards_html(page, kind, words), chosen_html(page, method),
        gr.skip() if origin == "method-form" or method is None else form.show(method, values=draft["method"]),
    ]


def adapters(page: Page, kind: str) -> dict[str, str]:
    """Id → name of the library's adapters that ship as `kind` and belong to the draft's base model: what an option can choose from."""
    rows = shelf.listing(page.store, base=page.desk.draft()["model"].get("name", ""))
    return {row["id"]: f"{row['name']} · {row['card'].get('summary', '')}" for row in rows if row["card"].get("ships_as") == kind}


def refreshed(page: Page, form: OptionForm):
    """The form anew where it offers the library's adapters, which may be others since it was drawn."""
    draft = page.desk.draft()
    method = METHODS.get(draft["method"].get("name"))
    offers = method is not None and any(field["adapters"] for field in form_fields(method))
    return form.show(method, values=draft["method"]) if offers else gr.skip()


def fetching(page: Page, name: str) -> dict | None:
    """The newest job that brings the model `name` here."""
    return next((job for job in reversed(page.store.jobs(kind="inspect")) if job["payload"].get("model") == name), None)


def model_html(page: Page) -> str:
    """What the chosen base model is, and how to get it where it is not here yet."""
    outlook = page.desk.outlook()
    name = page.desk.draft()["model"].get("name", "")
    offer = offer_of(name)
    pairs = []
    if outlook.shape:
        pairs = [(page.t("Parameters"), number(outlook.shape.parameters)), (page.t("Layers"), str(outlook.shape.layers)), (page.t("Width"), str(outlook.shape.hidden)),
                 (page.t("Context"), page.t("{count} tokens", count=f"{outlook.shape.context:,}")), (page.t("Architecture"), outlook.shape.architecture), (page.t("On disk"), size(outlook.shape.bytes))]
    elif offer:
        pairs = [(page.t("Parameters"), _billions(offer.parameters)), (page.t("Context"), page.t("{count} tokens", count=f"{offer.context:,}"))]
    if offer:
        pairs += [(page.t("Licence"), offer.licence), (page.t("Access"), page.t("licence must be accepted on the hub") if offer.gated else page.t("free to download"))]
    text = f'<p class="help">{e(page.t(offer.note))}</p>' if offer and offer.note else ""
    tight = fits(offer, hardware.machine(), outlook.recipe.method, quantisation=outlook.recipe.quantisation) if offer and outlook.recipe else None
    return text + facts(pairs) + (note(page.say(tight), "warn") if tight else "") + _fetch_html(page, name, outlook.problems.get("model"))


def _fetch_html(page: Page, name: str, problem: Sentence | None) -> str:
    job = fetching(page, name)
    if job and job["state"] in ("queued", "running"):
        return note(page.say(job["doing"]) or page.t("Waiting for a worker")) + button(page.t("Stop"), "stop", str(job["id"]))
    if problem is None:
        return ""
    said = note(page.say(problem), "warn")
    if job and job["state"] == "failed":
        said = note(page.say(job["reason"]), "bad")
    try:
        missing = is_hub_id(name) and local_folder(name) is None
    except StudioError:
        missing = False
    return said + (button(page.t("Download {name}", name=name), "download", name, kind="primary") if missing else "")


def cards_html(page: Page, kind: str, words: str) -> str:
    """A card for each method, with the reason where it cannot be used now."""
    draft, outlook = page.desk.draft(), page.desk.outlook()
    found = []
    for name, method in METHODS.items():
        card = method.card()
        text = " ".join([method.title, page.t(method.title), page.t(card.idea), page.t(card.good_for), card.paper]).lower()
        if (kind and method.family != kind) or any(word not in text for word in (words or "").lower().split()):
            continue
        found.append(_card(page, name, method, draft["method"].get("name") == name, outlook.shape, draft))
    return f'<div class="cards">{"".join(found)}</div>' if found else note(page.t("No method fits these words; search for less."))


def _card(page: Page, name: str, method: type[Method], chosen: bool, shape: Shape | None, draft: dict) -> str:
    card = method.card()
    reason = refusal(method, shape, draft)
    count = f"{share(method().parameter_count(shape), shape)}" if shape and not reason else ""
    lines = "".join(f"<p><b>{e(page.t(title))}:</b> {e(text)}</p>" for title, text in (
        ("Equation", card.equation), ("Good for", page.t(card.good_for)), ("Cost", page.t(card.cost)), ("Limits", page.t(card.limits)), ("Paper", card.paper)))
    barred = note(page.say(reason), "warn") if reason else ""
    choose = button(page.t("Chosen") if chosen else page.t("Choose"), "method", name, kind="primary" if chosen else "", disabled=page.say(reason) if reason else "")
    return (f'<article class="card" aria-current="{"true" if chosen else "false"}"><header><h4>{e(page.t(method.title))}</h4>{chip(page.t(FAMILIES[method.family]))}</header>'
            f'<p>{e(page.t(card.idea))}</p>{barred}<details><summary>{e(page.t("Equation, cost and limits"))}</summary>{lines}</details>'
            f'<footer>{choose}<span class="count">{e(count)}</span></footer></article>')


def refusal(method: type[Method], shape: Shape | None, draft: dict) -> Sentence | None:
    """Why `method` with its defaults cannot be used for this draft."""
    return method().refusal(shape, draft["task"].get("name", ""), method.quantisation or draft["machine"].get("quantisation", "none"))


def chosen_html(page: Page, method: type[Method] | None) -> str:
    """Heading of the options, with the live count of what will be learnt."""
    outlook = page.desk.outlook()
    if method is None:
        return note(page.t("Choose a method."), "warn")
    problem = outlook.problems.get("method")
    said = note(page.say(problem), "bad") if problem else ""
    if outlook.shape and outlook.recipe and not problem:
        count = outlook.recipe.method.parameter_count(outlook.shape)
        said = f'<p class="count" aria-live="polite">{e(page.t("Learns {count} of the model’s {all} parameters.", count=share(count, outlook.shape), all=number(outlook.shape.parameters)))}</p>'
    return f'<h3>{e(page.t("Options of {method}", method=page.t(method.title)))}</h3>{said}'


def share(count: int, shape: Shape) -> str:
    return f"{count:,} ({100 * count / shape.parameters:.3g} %)"


def _billions(count: float) -> str:
    return f"{count:.3g} B" if count >= 0.1 else f"{count * 1000:.2g} M"



"""The Library's panel for blending LoRA adapters: which ones, with which weights, in which way; try it, save it.

The blending itself is in `studio.merging`, in a job; this module only displays it.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from studio.jobs import client
from studio.library import adapter_store
from studio.merging import blend as blending
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import note
from studio.ui.library_panel import Opened
from studio.ui.page import Page
from studio.ui.preview_list import PreviewList
from studio.words import Sentence, StudioError

NAME = "blend"
TITLE, MINIMUM, MAXIMUM = "Blend", blending.FEWEST, blending.MOST


def refusal(page: Page, rows: list[dict]) -> Sentence | None:
    """Why these adapters cannot be blended; None if they can."""
    try:
        parts = [(row["name"], page.home.adapter(row["id"]), row["card"]) for row in rows]
        return blending.refusal(parts, [1.0] * len(parts))
    except StudioError as error:
        return error.sentence


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers."""
    with gr.Column(visible=False, elem_id="blend-panel", elem_classes="library-panel") as group:
        gr.Markdown(f"### {page.t('Blend LoRA adapters')}")
        gr.Markdown(
            page.t(
                "One adapter that does what several do, by weighted sums of their weight changes. A negative weight "
                "takes away what an adapter has learnt."
            )
        )
        adapters = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=blending.MOST,
            label=page.t("Adapters to blend (of one base model)"),
            elem_id="blend-adapters",
        )
        with gr.Row(elem_id="blend-weights"):
            weights = [
                gr.Slider(*blending.WEIGHTS, 1.0, step=0.05, visible=False, min_width=240, elem_id=f"blend-weight-{at}")
                for at in range(blending.MOST)
            ]
        method = gr.Dropdown(
            [(page.say(cls.title), name) for name, cls in blending.METHODS.items()],
            value="linear",
            label=page.t("Method"),
            elem_id="blend-method",
        )
        explained = gr.HTML(_explained(page, "linear"), apply_default_css=False)
        form = OptionForm(blending.Linear, language=page.language, elem_id="blend-options")
        message = gr.HTML(elem_id="blend-message", apply_default_css=False)
        with gr.Row():
            start = gr.Button(page.t("Blend"), variant="primary", min_width=120, scale=0, elem_id="blend-start")
            close = gr.Button(page.t("Close"), min_width=100, scale=0, elem_id="blend-close")
        made = PreviewList(page, "blend")
    parts = SimpleNamespace(
        group=group,
        adapters=adapters,
        weights=weights,
        method=method,
        explained=explained,
        form=form,
        message=message,
        start=start,
        close=close,
        made=made,
    )
    return lambda: _bind(page, parts)


def _bind(page: Page, parts: SimpleNamespace) -> None:
    opened, made = page.parts["library-opened"], parts.made
    chosen = [*parts.weights, parts.message, parts.start]

    def open_panel(text):
        asked = Opened.parse(text)
        if asked.panel != NAME:
            return [gr.update(visible=False), gr.Timer(active=False), *[gr.skip()] * (1 + len(chosen) + 3)]
        choices, ids = offered(page, list(asked.adapters))
        return [
            gr.update(visible=True),
            gr.Timer(active=True),
            gr.update(choices=choices, value=ids),
            *weight_updates(page, ids),
            *made.view(),
        ]

    def choose(ids):
        choices, ids = offered(page, ids)
        return [gr.update(choices=choices), *weight_updates(page, ids)]

    def start_job(ids, method, raw, *weights):
        start_blend(page, ids, weights[: len(ids or [])], method, raw)
        return ["", *made.view()]

    def choose_method(name):
        return _explained(page, name), parts.form.show(blending.METHODS[name])

    everything = [parts.group, made.timer, parts.adapters, *chosen, *made.shown]
    page.on(opened.change, open_panel, opened, everything, changes=True)
    page.on(parts.adapters.input, choose, parts.adapters, [parts.adapters, *chosen], changes=True)
    page.on(parts.method.input, choose_method, parts.method, [parts.explained, parts.form], changes=True)
    given = [parts.adapters, parts.method, parts.form, *parts.weights]
    page.on(parts.start.click, start_job, given, [parts.message, *made.shown], changes=True)
    page.on(parts.close.click, lambda: "", None, opened, changes=True)
    made.bind()


def _explained(page: Page, name: str) -> str:
    return f'<p class="help">{page.say(blending.METHODS[name].help)}</p>'


def offered(page: Page, ids: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """(choices, those of `ids` that can be chosen): the LoRA adapters of the base model of the first one."""
    rows = [row for row in adapter_store.listing(page.store) if row["card"].get("artefact_type") == "LORA"]
    known = {row["id"]: row for row in rows}
    ids = [adapter for adapter in ids or [] if adapter in known]
    if ids:
        base = known[ids[0]]["card"].get("base")
        rows = [row for row in rows if row["card"].get("base") == base]
    return [(f"{row['name']} · {row['card'].get('summary', '')}", row["id"]) for row in rows], ids


def weight_updates(page: Page, ids: list[str]) -> list:
    """Updates of the sliders, the message and the button for these adapters; each weight becomes an equal share."""
    rows = [row for adapter in ids if (row := page.store.adapter(adapter))]
    share = round(1 / max(1, len(rows)), 2)
    sliders = [
        gr.update(visible=True, label=page.t("Weight of “{name}”", name=rows[at]["name"]), value=share)
        if at < len(rows)
        else gr.update(visible=False)
        for at in range(blending.MOST)
    ]
    problem = refusal(page, rows)
    few = len(rows) < blending.FEWEST
    text = note(page.say(problem), "" if few else "bad") if problem else ""
    return [*sliders, text, gr.update(interactive=problem is None)]


def start_blend(page: Page, ids: list[str], weights: tuple, method: str, raw: dict) -> int:
    """Queue the job; returns its id. Raises StudioError for an invalid option, or adapters that cannot be blended."""
    options, wrong = form_values(raw, blending.METHODS[method])
    if options is None:
        raise StudioError(next(iter(wrong.values())))
    rows = [row for adapter in ids or [] if (row := page.store.adapter(adapter))]
    parts = [(row["name"], page.home.adapter(row["id"]), row["card"]) for row in rows]
    values = [float(weight or 0) for weight in weights]
    if problem := blending.refusal(parts, values):
        raise StudioError(problem)
    payload = {"adapters": [row["id"] for row in rows], "weights": values, "method": options.model_dump()}
    return client.start_job(page.store, "blend", payload)

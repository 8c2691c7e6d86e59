"""The presets of the sampling options: choose, save, delete."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from studio.chat import sampling_presets as presets
from studio.chat.sampling import Sampling
from studio.ui.form import OptionForm, form_values
from studio.ui.page import Page
from studio.words import StudioError


@dataclass
class PresetParts:
    """The components."""

    chosen: gr.Dropdown
    name: gr.Textbox
    save: gr.Button
    delete: gr.Button


def build(page: Page) -> PresetParts:
    """Create the components."""
    with gr.Row(elem_id="preset-row", elem_classes="beside-button"):
        chosen = gr.Dropdown(
            choices(page), value=None, label=page.t("Preset"), scale=2, min_width=160, elem_id="preset"
        )
        name = gr.Textbox(
            label=page.t("Save these options as"), max_length=40, scale=2, min_width=160, elem_id="preset-name"
        )
        save = gr.Button(page.t("Save preset"), scale=0, min_width=120, elem_id="save-preset")
        delete = gr.Button(page.t("Delete preset"), scale=0, min_width=120, elem_id="delete-preset")
    return PresetParts(chosen, name, save, delete)


def bind(page: Page, parts: PresetParts, form: OptionForm) -> None:
    """Bind the preset's components to the form of sampling options."""

    def choose(name, raw):
        return form.show(values=presets.apply_preset(page.store, name, raw)) if name else gr.skip()

    def save(name, raw):
        settings, wrong = form_values(raw, Sampling)
        if settings is None:
            raise StudioError(next(iter(wrong.values())))
        saved = presets.save_preset(page.store, name or "", settings)
        return gr.update(choices=choices(page), value=saved), ""

    def delete(name):
        presets.delete_preset(page.store, name or "")
        return gr.update(choices=choices(page), value=None)

    def look(name):
        offered = choices(page)
        return gr.update(choices=offered, value=name if name in [value for _, value in offered] else None)

    page.on(parts.chosen.input, choose, [parts.chosen, form], form)
    page.on(parts.save.click, save, [parts.name, form], [parts.chosen, parts.name], changes=True)
    page.on(parts.delete.click, delete, parts.chosen, parts.chosen, changes=True)
    page.on(page.parts["tab-chat"].select, look, parts.chosen, parts.chosen)


def choices(page: Page) -> list[tuple[str, str]]:
    """Return (displayed name, name) of all presets; the built-in ones first."""
    return [
        *((page.t(name), name) for name in presets.BUILT_IN),
        *((name, name) for name in presets.own_presets(page.store)),
    ]

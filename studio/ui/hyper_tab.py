"""The Hyperparameters tab: presets, all options of training and machine, and the recipe as a file.

The forms are generated from `studio.recipe`; this module contains no code for a particular option.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from studio import hardware
from studio.forecast import changed, duration, memory_problem, not_enough_memory
from studio.options import Options
from studio.presets import apply, preset, presets
from studio.recipe import Recipe, recipe_from_yaml
from studio.training_options import Machine, Training
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, button, e, facts, note, size
from studio.ui.notices import discard_upload
from studio.ui.page import Page
from studio.words import StudioError

_RECIPE_BYTES = 200_000


class Parts(NamedTuple):
    """The components of the tab."""

    presets: Board
    forecast: Board
    training: OptionForm
    machine: OptionForm
    name: gr.Textbox
    save: gr.DownloadButton
    load: gr.UploadButton


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.follow_draft("hyperparameters")
    boards = Board(elem_id="presets")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            training = OptionForm(Training, language=page.language, elem_id="training-form")
        with gr.Column(scale=2, min_width=300, elem_id="hyper-side"):
            preflight = Board(elem_id="forecast")
            machine = OptionForm(Machine, language=page.language, elem_id="machine-form")
            name = gr.Textbox(
                label=page.t("Name of the run"),
                placeholder=page.t("made from the data and the method"),
                max_length=120,
                elem_id="run-name",
            )
            with gr.Row():
                save = gr.DownloadButton(page.t("Download recipe"), elem_id="save-recipe")
                load = gr.UploadButton(
                    page.t("Load recipe"), file_types=[".yaml", ".yml"], type="filepath", elem_id="load-recipe"
                )
    return partial(bind, page, Parts(boards, preflight, training, machine, name, save, load))


def bind(page: Page, parts: Parts) -> None:
    """Bind the event handlers of the tab."""

    def apply_preset(event: gr.EventData):
        page.editor.change(**apply(preset(event.item), page.editor.draft()))
        return page.stamp("preset")

    def edit(part: str, cls: type[Options], form: OptionForm):
        def edited(raw: dict):
            made, wrong = form_values(raw, cls)
            page.editor.change(**{part: made.model_dump(mode="json") if made else {**raw}})
            return form.complain(wrong), page.stamp(part)

        return edited

    def apply_fix(event: gr.EventData):
        found = page.editor.preflight()
        remedy = not_enough_memory(found.forecast, hardware.machine())[int(event.item)][1]
        page.editor.change(**changed(found.recipe, remedy).to_dict())
        return page.stamp("remedy")

    def rename(text: str):
        page.editor.change(name=text)
        return page.stamp("name")

    def load_recipe(path: str):
        try:
            page.editor.change(**read_recipe(Path(path)).to_dict())
        finally:
            discard_upload(path)
        return page.stamp("recipe")

    page.on(parts.presets.click, apply_preset, None, page.changed, changes=True)
    for part, cls, form in (("training", Training, parts.training), ("machine", Machine, parts.machine)):
        page.on(form.input, edit(part, cls, form), form, [form, page.changed], changes=True)
    page.on(parts.forecast.click, apply_fix, None, page.changed, changes=True)
    page.on(parts.name.input, rename, parts.name, page.changed, changes=True, trigger_mode="always_last")
    page.on(parts.load.upload, load_recipe, parts.load, page.changed, changes=True)
    page.on_draft(
        "hyperparameters",
        lambda stamp: draw(page, stamp, parts.training, parts.machine),
        (),
        [parts.presets, parts.forecast, parts.training, parts.machine, parts.name, parts.save],
        shows="recipes",
    )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file of the user. Raises `StudioError` if it is too large or invalid."""
    if path.stat().st_size > _RECIPE_BYTES:
        raise StudioError(
            "{source} has more than {limit} kB, so it is no recipe. Choose the YAML file of one.",
            source=path.name,
            limit=_RECIPE_BYTES // 1000,
        )
    return recipe_from_yaml(path.read_text(encoding="utf-8", errors="replace"), path.name)


def draw(page: Page, stamp: str, training: OptionForm, machine: OptionForm) -> list:
    """Return updates of the whole tab from the draft."""
    origin = stamp.partition(":")[0]
    draft = page.editor.draft()
    return [
        presets_html(page),
        forecast_html(page),
        gr.skip() if origin == "training" else training.show(values=draft["training"]),
        gr.skip() if origin == "machine" else machine.show(values=draft["machine"]),
        gr.skip() if origin == "name" else gr.update(value=draft.get("name", "")),
        recipe_file(page),
    ]


def recipe_file(page: Page):
    """Write the draft to a YAML file for download; the button is disabled if the draft is not a valid recipe."""
    recipe = page.editor.preflight().recipe
    if recipe is None:
        return gr.update(value=None, interactive=False)
    path = page.home.exports / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    return gr.update(value=str(path), interactive=True)


def presets_html(page: Page) -> str:
    cards = "".join(
        (
            f'<button type="button" class="example" data-act="preset" data-item="{e(item.name)}"><strong>'
            f"{e(page.t(item.title))}</strong><span>{e(page.t(item.description))}</span></button>"
        )
        for item in presets("effort")
    )
    return f'<h3>{e(page.t("Presets"))}</h3><div class="examples wide">{cards}</div>'


def forecast_html(page: Page) -> str:
    """Return the expected time, memory and steps, with remedies if the memory does not suffice."""
    preflight = page.editor.preflight()
    problems = [
        note(page.say(sentence), "bad")
        for part, sentence in preflight.problems.items()
        if part in ("recipe", "machine", "method")
    ]
    found = preflight.forecast
    if found is None:
        return "".join(problems)
    recipe, here = preflight.recipe, hardware.machine()
    pairs = [
        (
            page.t("Effective batch"),
            page.t("{count} {count:example|examples} a step", count=recipe.training.effective_batch),
        ),
        (page.t("Steps"), f"{found.steps:,}"),
        (page.t("Time, about"), page.say(duration(found.seconds))),
        (page.t("Peak memory, about"), size(found.memory_bytes)),
        (page.t("Disk, about"), size(found.disk_bytes)),
    ]
    reason = memory_problem(found, here)
    ways = (
        "".join(button(page.say(text), "mend", str(at)) for at, (text, _) in enumerate(not_enough_memory(found, here)))
        if reason
        else ""
    )
    return (
        f"<h3>{e(page.t('What to expect'))}</h3>"
        + "".join(problems)
        + facts(pairs)
        + memory_meter_html(page, found.memory_bytes, here.free_on(found.device))
        + (note(page.say(reason), "bad") + f'<p class="actions">{ways}</p>' if reason else "")
    )


def memory_meter_html(page: Page, needed: int, free: int) -> str:
    """Return a meter of the memory that the run needs relative to the free memory of the device, in bytes."""
    share = min(1.0, needed / free) if free else 1.0
    kind = "bad" if needed > free else "warn" if share > 0.85 else ""
    message = page.t("{needed} of {free} free on the device", needed=size(needed), free=size(free))
    return (
        f'<p class="memory-meter {kind}"><span class="bar"><span style="width:{share:.0%}"></span></span>{e(message)}'
        "</p>"
    )

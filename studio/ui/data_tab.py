"""The Data tab: load data, check and correct how it was recognised, and see exactly what the model receives.

Reading and recognition happen in `studio.data` and `studio.draft`; this module contains no file format code.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr

from studio.data.data_spec import DataSpec
from studio.data.mapping import ROLES, SHAPES
from studio.draft import files_of
from studio.models.templates import OWN
from studio.options import option
from studio.presets import apply, preset, presets
from studio.tasks import TASKS
from studio.ui import chat_rows, hub_search, mixture_panel, token_view
from studio.ui.data_report import about_html, files_html, preview_html, reading_html
from studio.ui.form import OptionForm, form_values
from studio.ui.html_parts import Board, button, e, note, skeleton
from studio.ui.notices import discard_upload
from studio.ui.page import Page
from studio.ui.roles_form import columns_and_mapping, roles_form
from studio.words import StudioError

_SPLIT = ("validation", "validation_fraction", "max_rows", "encoding", "seed")
_DRAWN = (
    "examples",
    "task",
    "task_help",
    "task_form",
    "about",
    "files",
    "file",
    "weight",
    "roles",
    "check",
    "split",
    "preview",
    "tokens",
    "template",
    "timer",
)
"""The components that are redrawn when the draft changes."""


class Split(DataSpec):
    """The fields of `DataSpec` that are edited in the form; source and columns have controls of their own."""

    source: str = option("", "Data", "", hidden=True)


def build(page: Page):
    """Create the tab's components; return a function that binds their event handlers."""
    page.follow_draft("data")
    ui = SimpleNamespace()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            ui.examples = Board(skeleton(332), elem_id="examples")
            ui.upload = gr.File(
                label=page.t("Or drop a file of your own"), type="filepath", elem_id="upload", height=116
            )
            gr.HTML(
                '<p class="help">'
                f"{e(page.t('JSON, JSONL, CSV, Parquet, Excel, text, or a zip of these or of pictures.'))}</p>",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="beside-button"):
                ui.place = gr.Textbox(
                    label=page.t("Or a file on this machine, or hub:owner/name"),
                    placeholder="/data/chats.jsonl",
                    scale=4,
                    elem_id="place",
                )
                ui.use = gr.Button(page.t("Use"), scale=1, min_width=80, elem_id="use-place")
            bind_search = hub_search.build(page, "dataset", page.editor.use)
            bind_chats = chat_rows.build(page)
            ui.task = gr.Radio(
                [(page.t(item.title), name) for name, item in TASKS.items()],
                label=page.t("What should the model learn?"),
                elem_id="task",
            )
            ui.task_help = gr.HTML(apply_default_css=False)
        with gr.Column(scale=3, min_width=320):
            ui.about = Board(skeleton(372), elem_id="about-data")
            ui.timer = gr.Timer(1.0, active=False)
            with gr.Tabs():
                with gr.Tab(page.t("First rows")):
                    ui.preview = gr.HTML(skeleton(520), elem_id="preview", apply_default_css=False)
                with gr.Tab(page.t("What the model sees")):
                    ui.tokens, ui.example, ui.template, bind_tokens = token_view.build(page)
    build_options(page, ui)

    def bind_all():
        bind(page, ui)
        mixture_panel.bind(page, ui)
        bind_tokens()
        bind_search()
        bind_chats()

    return bind_all


def build_options(page: Page, ui: SimpleNamespace) -> None:
    """Create the task's options and the rarely changed settings: more files, column roles, validation set."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            ui.task_form = OptionForm(language=page.language, elem_id="task-form")
        with gr.Column(scale=2, min_width=300):
            mixture_panel.build(page, ui)
            with gr.Accordion(page.t("Which column plays which role"), open=False):
                ui.roles = OptionForm(language=page.language, elem_id="roles")
                ui.check = Board(elem_id="roles-check")
                ui.proposed = gr.Button(page.t("Back to the proposed columns"), size="sm", elem_id="proposed-roles")
            with gr.Accordion(page.t("Validation set"), open=False):
                ui.split = OptionForm(Split, language=page.language, elem_id="split")


def bind(page: Page, ui: SimpleNamespace) -> None:
    """Bind the event handlers of the tab except those of the data mixture (see `mixture_panel`)."""
    bind_source(page, ui)
    bind_options(page, ui)
    bind_report(page, ui)


def bind_source(page: Page, ui: SimpleNamespace) -> None:
    """Bind the three ways to choose the data: an example, an upload, a path or hub id."""

    def choose_example(event: gr.EventData):
        page.editor.change(**apply(preset(event.item), page.editor.draft()))
        return page.stamp("example")

    def use_path(text: str):
        page.editor.use(text.strip())
        return page.stamp("path")

    page.on(ui.examples.click, choose_example, None, page.changed, changes=True)
    taken = page.on(
        ui.upload.upload, lambda path: take(page, path), ui.upload, page.changed, changes=True, show_progress="minimal"
    )
    for after in (taken.then, taken.failure):  # clear the upload field, also after an error
        page.on(after, None, None, ui.upload, js="() => [null]")
    for event in (ui.use.click, ui.place.submit):
        page.on(event, use_path, ui.place, page.changed, changes=True, show_progress="minimal")


def bind_options(page: Page, ui: SimpleNamespace) -> None:
    """Bind the task, its options, the column roles and the validation set."""

    def propose_roles(index: int | None):
        page.editor.change_mapping(None, index or 0)
        return page.stamp("shape")

    def accept(event: gr.EventData):
        return accept_roles(page, *json.loads(event.item)), ""

    page.on(ui.task.input, lambda name: choose_task(page, name), ui.task, page.changed, changes=True)
    page.on(
        ui.task_form.input,
        lambda raw: edit_task(page, ui.task_form, raw),
        ui.task_form,
        [ui.task_form, page.changed],
        changes=True,
    )
    page.on(
        ui.roles.input,
        lambda raw, index: edit_roles(page, ui.roles, raw, index or 0),
        [ui.roles, ui.file],
        [ui.roles, page.changed, ui.check],
        changes=True,
    )
    page.on(ui.check.click, accept, None, [page.changed, ui.check], changes=True)
    page.on(ui.proposed.click, propose_roles, ui.file, page.changed, changes=True)
    page.on(
        ui.split.input, lambda raw: edit_split(page, ui.split, raw), ui.split, [ui.split, page.changed], changes=True
    )


def bind_report(page: Page, ui: SimpleNamespace) -> None:
    """Bind the report's buttons, its progress while a large file is read, and the redrawing of the tab."""

    def press(event: gr.EventData):
        return act(page, event.act, event.item)

    def poll():
        """While a large file is being read, show the progress; when it is done, redraw the whole tab."""
        if page.editor.datasets.in_progress():
            return reading_html(page), gr.skip()
        return gr.skip(), page.stamp("read")

    page.on(ui.about.click, press, None, page.changed, changes=True)
    page.on(ui.timer.tick, poll, None, [ui.about, page.changed], shows="data")
    page.on_draft(
        "data",
        lambda stamp, index, at: draw(page, ui, stamp, index or 0, at),
        [ui.file, ui.example],
        [getattr(ui, name) for name in _DRAWN],
        shows="data",
    )


def act(page: Page, what: str, item: str):
    """Run the action of a button in the report: remedy, undo, chat template, max length, or stop or repeat reading."""
    editor = page.editor
    if what == "remedy":
        editor.set_remedy(*item.split(":", 1))
    elif what == "undo":
        editor.set_remedy(item, None)
    elif what == "template":
        editor.change(model={**editor.draft()["model"], "template": item})
    elif what == "raise":
        editor.change(training={**editor.draft()["training"], "max_length": int(item)})
        return page.stamp("remedy")
    elif what == "stop-reading":
        editor.datasets.stop()
    elif what == "read-again":
        editor.datasets.discard()
    return page.stamp("remedy")


def take(page: Page, path: str):
    """Import an uploaded file if it can be read; delete Gradio's copy in either case."""
    if not path:
        return gr.skip()
    try:
        page.editor.use_upload(path)
    finally:
        discard_upload(path)
    return page.stamp("upload")


def choose_task(page: Page, name: str):
    if page.editor.draft()["task"].get("name") == name:
        return gr.skip()
    page.editor.choose_task(name)
    return page.stamp("task")


def edit_task(page: Page, form: OptionForm, raw: dict):
    cls = TASKS[page.editor.draft()["task"]["name"]]
    made, wrong = form_values(raw, cls)
    page.editor.change(
        task={"name": cls.model_fields["name"].default, **(made.model_dump(mode="json") if made else raw)}
    )
    return form.complain(wrong), page.stamp("task-form")


def edit_roles(page: Page, form: OptionForm, raw: dict, file: int = 0):
    shape = raw.get("shape")
    if shape not in SHAPES:
        return gr.skip(), gr.skip(), gr.skip()
    columns = {role: raw[role] for role in ROLES[shape] if raw.get(role)}
    labels = raw.get("labels") or [] if shape in ("label", "label_columns") else []
    mapping = {"shape": shape, "roles": columns, "labels": labels, "system": raw.get("system_text") or None}
    lost, rows = more_lost(page, mapping, file)
    if lost:
        message = page.t(
            "With these columns {count} of the first {rows} rows would be lost: {count:line|lines} {lines}.",
            count=len(lost),
            rows=rows,
            lines=", ".join(map(str, lost[:12])),
        )
        keep = button(page.t("Use them all the same"), "accept", json.dumps([mapping, file]))
        return form.complain({}), gr.skip(), note(message, "warn") + keep
    return form.complain({}), accept_roles(page, mapping, file), ""


def accept_roles(page: Page, mapping: dict, file: int) -> str:
    """Set `mapping` for one file; return a stamp that redraws the form if the shape, and so the roles, changed."""
    before = files_of(page.editor.draft())[file].get("mapping") or {}
    page.editor.change_mapping(mapping, file)
    return page.stamp("roles" if before.get("shape") == mapping["shape"] else "shape")


def more_lost(page: Page, mapping: dict, file: int) -> tuple[list[int], int]:
    """Return (line numbers that `mapping` would lose, number of rows checked).

    The list is empty if the current mapping loses at least as many lines, or if `mapping` cannot be tried yet.
    """
    data = page.editor.preflight().dataset
    if data is None or file >= len(data.files):
        return [], 0
    try:
        lost, rows = page.editor.lost_rows_with(mapping, file)
        now, _ = page.editor.lost_rows_with(data.files[file].mapping.model_dump(), file)
    except StudioError:  # a role has no column or the shape is for another task; the report shows it
        return [], 0
    return (lost if len(lost) > len(now) else []), rows


def edit_split(page: Page, form: OptionForm, raw: dict):
    made, wrong = form_values(raw, Split)
    values = made.model_dump(mode="json") if made else raw
    page.editor.split({key: values.get(key) for key in _SPLIT})
    return form.complain(wrong), page.stamp("split")


def draw(page: Page, ui: SimpleNamespace, stamp: str, file: int, example: float | None) -> list:
    """Return updates of the whole tab from the draft; a form that was just edited keeps the user's input."""
    origin = stamp.partition(":")[0]
    updates = {} if origin in ("method", "machine") else _updates(page, ui, origin, file, example)
    return [updates.get(name, gr.skip()) for name in _DRAWN]


def _updates(page: Page, ui: SimpleNamespace, origin: str, file: int, example: float | None) -> dict:
    """Return component of the tab → update, after a change of the draft in `origin`."""
    draft, preflight = page.editor.draft(), page.editor.preflight()
    data, problem = preflight.dataset, preflight.problems.get("data")
    tokens = token_view.view_html(page, preflight, example)
    if origin == "training":  # max_length may have changed
        return {"about": about_html(page, draft, preflight, problem), "tokens": tokens}
    if data is None:
        problem = problem or preflight.problems.get("recipe")
    task, files = TASKS.get(draft["task"].get("name")), files_of(draft)
    file = file if file < len(files) else 0
    updates = {
        "examples": examples_html(page, draft["data"]["source"]),
        "task": gr.update(value=draft["task"].get("name")),
        "task_help": f'<p class="help">{e(page.t(task.help))}</p>' if task else "",
        "about": about_html(page, draft, preflight, problem),
        "files": files_html(page, draft, data),
        "file": mixture_panel.file_choices(files, data, file),
        "check": "",  # clear the question about columns that lose rows
        "preview": preview_html(page, preflight),
        "tokens": tokens,
        "template": gr.update(
            value=draft["model"].get("template", OWN), visible=task is None or task.modality == "text"
        ),
        "timer": gr.Timer(active=page.editor.datasets.in_progress() is not None),
    }
    if origin != "task-form" and task is not None:
        updates["task_form"] = ui.task_form.show(task, values=draft["task"])
    if origin != "weight":
        updates["weight"] = mixture_panel.weight_update(files, file)
    if origin != "roles":
        updates["roles"] = roles_form(page, ui.roles, *columns_and_mapping(data, files, file, task))
    if origin != "split":
        updates["split"] = ui.split.show(values={key: draft["data"].get(key) for key in _SPLIT})
    return updates


def examples_html(page: Page, source: str) -> str:
    """Return one button per sample recipe."""
    cards = []
    for item in presets("sample"):
        chosen = item.values.get("data", {}).get("source") == source
        cards.append(
            f'<button type="button" class="example" data-act="example" data-item="{e(item.name)}" '
            f'aria-pressed="{"true" if chosen else "false"}">'
            f"<strong>{e(page.t(item.title))}</strong><span>{e(page.t(item.description))}</span></button>"
        )
    return f'<h3>{e(page.t("Try an example"))}</h3><div class="examples">{"".join(cards)}</div>'

"""The Data tab's mixture of several files: their list, the selected file, and its weight.

The column roles of the selected file are edited in the form of `roles_form`.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from studio.data.data_spec import OtherFile
from studio.data.dataset import Dataset
from studio.draft import files_of
from studio.tasks import TASKS
from studio.ui.form import OptionForm
from studio.ui.html_parts import Board
from studio.ui.notices import discard_upload
from studio.ui.page import Page
from studio.ui.roles_form import columns_and_mapping, roles_form


def build(page: Page, ui: SimpleNamespace) -> None:
    """Create the controls of a data mixture: its list of files, the file selector and the selected file's weight."""
    with gr.Accordion(page.t("Mix in more files"), open=False, elem_id="mixture"):
        ui.files = Board(elem_id="files")
        with gr.Row(elem_classes="beside-button"):
            ui.other = gr.Textbox(
                label=page.t("Another file on this machine, an example, or hub:owner/name"),
                scale=4,
                elem_id="other-file",
            )
            ui.add = gr.Button(page.t("Add"), scale=1, min_width=80, elem_id="add-file")
            ui.use_upload = gr.UploadButton(page.t("Upload"), scale=1, min_width=80, elem_id="upload-other")
    ui.file = gr.Radio(
        [], value=None, visible=False, label=page.t("File whose weight and columns are set below"), elem_id="which-file"
    )
    ui.weight = gr.Number(
        1,
        visible=False,
        minimum=0.01,
        maximum=100,
        label=page.t("Weight"),
        info=page.t(OtherFile.model_fields["weight"].description),
        elem_id="weight",
    )


def bind(page: Page, ui: SimpleNamespace) -> None:
    """Bind adding, selecting, weighting and removing files of the mixture."""

    def mix_in(source: str):
        page.editor.add_file(source.strip())
        return page.stamp("mixture"), ""

    def take_other(path: str):
        try:
            page.editor.add_file(str(page.editor.import_file(path)))
        finally:
            discard_upload(path)
        return page.stamp("mixture")

    def remove(event: gr.EventData):
        page.editor.remove_file(int(event.item))
        return page.stamp("mixture")

    def set_weight(value: float | None, index: int | None):
        page.editor.change_file(index or 0, weight=value)
        return page.stamp("weight")

    page.on(ui.add.click, mix_in, ui.other, [page.changed, ui.other], changes=True, show_progress="minimal")
    page.on(ui.other.submit, mix_in, ui.other, [page.changed, ui.other], changes=True, show_progress="minimal")
    page.on(ui.use_upload.upload, take_other, ui.use_upload, page.changed, changes=True, show_progress="minimal")
    page.on(ui.files.click, remove, None, page.changed, changes=True)
    page.on(ui.weight.input, set_weight, [ui.weight, ui.file], page.changed, changes=True)
    page.on(
        ui.file.input,
        lambda index: [*draw_file(page, ui.roles, index or 0), ""],
        ui.file,
        [ui.weight, ui.roles, ui.check],
        shows="data",
    )


def file_choices(files: list[dict], data: Dataset | None, file: int):
    """Return an update of the file selector, which is visible if there are several files."""
    choices = [
        (data.files[at].name if data and at < len(data.files) else str(item.get("source")), at)
        for at, item in enumerate(files)
    ]
    return gr.update(choices=choices, value=file, visible=len(files) > 1)


def weight_update(files: list[dict], file: int):
    """Return an update of the selected file's weight; a validation file and a single file have none to set."""
    return gr.update(value=files[file].get("weight", 1), visible=len(files) > 1 and "weight" in files[file])


def draw_file(page: Page, roles: OptionForm, file: int) -> list:
    """Return updates of the weight and the column form for the selected file."""
    draft, data = page.editor.draft(), page.editor.preflight().dataset
    files = files_of(draft)
    return [
        weight_update(files, file),
        roles_form(page, roles, *columns_and_mapping(data, files, file, TASKS.get(draft["task"].get("name")))),
    ]

"""The Data tab's form that maps columns to roles, generated from the columns of one file."""

from __future__ import annotations

from typing import Literal

from pydantic import create_model

from studio.data.dataset import Dataset
from studio.data.mapping import ROLE_TITLES, ROLES, SHAPES, Mapping, fits
from studio.data.read import open_source
from studio.data.resolve import resolve
from studio.options import Options, option
from studio.tasks import Task
from studio.ui.form import OptionForm
from studio.ui.page import Page
from studio.words import StudioError

_RARE = (
    "input",
    "history",
    "tools",
    "reasoning",
    "weight",
    "mask_history",
)  # optional roles that are under "Advanced" unless a column is mapped to them


def columns_and_mapping(
    data: Dataset | None, files: list[dict], file: int, task: type[Task] | None
) -> tuple[list[str], dict, bool]:
    """Return one file's columns, its current mapping, and whether several label columns are allowed."""
    sets = task is not None and task.record_kind == "label_sets"
    if data and file < len(data.files):
        return data.files[file].columns, data.files[file].mapping.model_dump(), sets
    return (
        columns_of(files[file]["source"]),
        files[file].get("mapping") or {"shape": first_shape(task), "roles": {}},
        sets,
    )


def columns_of(source: str) -> list[str]:
    """Return the columns of a file whose mapping does not fit, so that another mapping can be chosen.

    Returns [] if the file cannot be read.
    """
    try:
        return open_source(resolve(source).train).columns
    except StudioError:
        return []


def first_shape(task: type[Task] | None) -> str:
    """Return the default shape for `task`, for a file whose shape was not recognised."""
    return next((shape for shape in SHAPES if task is None or fits(Mapping(shape=shape), task.record_kind)), "messages")


def roles_form(page: Page, form: OptionForm, columns: list[str], mapping: dict, sets: bool):
    """Return an update of the form, with this file's columns as choices.

    `sets` is whether several label columns are allowed.
    """
    if not columns:
        return form.show(Options, values={})
    shape = mapping["shape"]
    fields = {
        "shape": (
            Literal[tuple(SHAPES)],
            option(
                shape,
                "Shape",
                "How one row of the data is built.",
                labels={key: page.say(text) for key, text in SHAPES.items()},
            ),
        ),
        **_role_fields(page, columns, mapping),
        **_label_fields(columns, shape, sets),
        "system_text": (
            str | None,
            option(
                None,
                "System text",
                "Put before every conversation that has no system message of its own. Empty: none.",
                advanced=True,
            ),
        ),
    }
    values = {
        "shape": shape,
        **{role: mapping["roles"].get(role) for role in ROLES[shape]},
        "labels": mapping.get("labels") or [],
        "system_text": mapping.get("system"),
    }
    return form.show(create_model("Roles", __base__=Options, **fields), values=values)


def _role_fields(page: Page, columns: list[str], mapping: dict) -> dict[str, tuple]:
    """Return one field for each role of the mapping's shape, with the columns as choices."""
    fields = {}
    for role, needed in ROLES[mapping["shape"]].items():
        kind = Literal[tuple(columns)]
        title = page.say(ROLE_TITLES[role])
        rare = not needed and role in _RARE and role not in mapping["roles"]
        fields[role] = (
            kind if needed else kind | None,
            option(None, title, "", labels={name: name for name in columns}, advanced=rare),
        )
    return fields


def _label_fields(columns: list[str], shape: str, sets: bool) -> dict[str, tuple]:
    """Return the field for several label columns, {} if the shape has none."""
    labels = {name: name for name in columns}
    if sets and shape == "label":
        field = option(
            [],
            "More label columns",
            "Each of these columns is a label set of its own, beside the label's.",
            labels=labels,
        )
    elif shape == "label_columns":
        field = option(
            [], "Label columns", "A row has the label of each of these columns that says yes, true or 1.", labels=labels
        )
    else:
        return {}
    return {"labels": (list[Literal[tuple(columns)]], field)}

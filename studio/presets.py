"""Recipes ready to run: the YAML files in `presets/`, each a whole recipe or a part of one with a `preset:` heading.

A sample preset brings data and everything else; an effort preset ("Balanced") says only how much trouble to take, and is
laid over the recipe as it stands. This module knows nothing about forms and runs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.home import PRESETS
from studio.methods import METHODS
from studio.recipe import recipe_from
from studio.words import Sentence, StudioError

_NOT_PRESETS = ("models.yaml",)


class _Heading(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    kind: Literal["sample", "effort"]
    order: int = 100


@dataclass(frozen=True)
class Preset:
    """A recipe, or part of one. title, description: English, translatable. values: what `apply` lays over a recipe.

    kind: "sample" brings its own data, "effort" sets only method, training and machine.
    """

    name: str
    title: str
    description: str
    values: dict[str, Any]
    kind: str
    order: int = 100

    def say(self) -> Sentence:
        """Title and description in one line."""
        return Sentence("{title}: {description}", title=Sentence(self.title), description=Sentence(self.description))


def presets(kind: str | None = None) -> list[Preset]:
    """All presets in their order, or those of one kind. Raises `StudioError` where a file was edited and does not fit."""
    return [preset for preset in _read(PRESETS) if kind in (None, preset.kind)]


def preset(name: str) -> Preset:
    """The preset called `name`; `StudioError` names those there are."""
    found = {item.name: item for item in presets()}
    if name not in found:
        raise StudioError("There is no preset '{name}'; choose one of {choices}.", name=name, choices=", ".join(found))
    return found[name]


def apply(preset: Preset, recipe: dict[str, Any]) -> dict[str, Any]:
    """`recipe` (as `Recipe.to_dict` gives it) with the preset laid over it; neither is changed.

    Where the method changes and the preset names no learning rate, the present one is scaled as the two methods' own rates
    are to each other, so that what suits the model stays. A sample starts afresh: only the machine stays as it was.
    """
    if preset.kind == "sample":
        recipe = {key: recipe[key] for key in ("machine",) if key in recipe}
    merged = _merged(recipe, preset.values)
    before, after = (METHODS.get(_name(values.get("method"))) for values in (recipe, merged))
    rate = merged.get("training", {}).get("learning_rate")
    if before and after and rate and "learning_rate" not in preset.values.get("training", {}):
        merged["training"]["learning_rate"] = float(f"{rate * after.learning_rate / before.learning_rate:.6g}")
    return merged


def read_presets(folder: Path) -> list[Preset]:
    """The presets in `folder`, each checked as a recipe."""
    files = sorted(path for path in folder.glob("*.yaml") if path.name not in _NOT_PRESETS)
    return sorted((_preset(path) for path in files), key=lambda item: (item.order, item.name))


@cache
def _read(folder: Path) -> tuple[Preset, ...]:
    return tuple(read_presets(folder))


def _preset(path: Path) -> Preset:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise StudioError(
            "{source} is not valid YAML (line {line}); correct that line.",
            source=path.name,
            line=mark.line + 1 if mark else "?",
        ) from error
    try:
        heading = _Heading.model_validate(
            values.pop("preset") if isinstance(values, dict) and "preset" in values else {}
        )
    except ValidationError as error:
        raise StudioError(
            "{file} is not a preset: it needs a heading 'preset:' with title, description and kind.", file=path.name
        ) from error
    recipe_from(values, path.name)
    return Preset(path.stem, heading.title, heading.description, values, heading.kind, heading.order)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, part by part; another method or task replaces the whole part, for its options are others."""
    found = deepcopy(below)
    for key, value in above.items():
        old = found.get(key)
        together = isinstance(value, dict) and isinstance(old, dict)
        if key in ("method", "task") and _name(value) != _name(old):
            together = False
        found[key] = _merged(old, value) if together else deepcopy(value)
    return found


def _name(part: Any) -> str | None:
    return part.get("name") if isinstance(part, dict) else part

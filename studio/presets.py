"""Presets: the YAML files in `presets/`, each a complete or partial recipe with a `preset:` heading.

A sample preset is a complete recipe with data; an effort preset ("Balanced") sets only method, training and machine,
and is merged into the current recipe. Independent of forms and runs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.home import PRESETS
from studio.methods import METHODS
from studio.recipe import recipe_from
from studio.words import Sentence, StudioError
from studio.yaml_text import parse_yaml

_NOT_PRESETS = ("models.yaml",)


class _Heading(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    kind: Literal["sample", "effort"]
    order: int = 100


@dataclass(frozen=True)
class Preset:
    """A complete or partial recipe.

    title, description: English, translatable. values: what `apply` merges into a recipe.
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
    """All presets, or those of one kind, sorted by `order`. Raises `StudioError` if a file is not a valid preset."""
    return [preset for preset in _read(PRESETS) if kind in (None, preset.kind)]


def preset(name: str) -> Preset:
    """The preset called `name`. Raises `StudioError`, which lists the existing names, if there is none."""
    found = {item.name: item for item in presets()}
    if name not in found:
        raise StudioError("There is no preset '{name}'; choose one of {choices}.", name=name, choices=", ".join(found))
    return found[name]


def apply(preset: Preset, recipe: dict[str, Any]) -> dict[str, Any]:
    """Merge the preset into `recipe` (in the form of `Recipe.to_dict`) and return the result; neither is modified.

    If the method changes and the preset sets no learning rate, the current one is multiplied by the ratio of the two
    methods' default learning rates, which keeps a rate adjusted to the model. A sample preset replaces everything but
    the `machine` part.
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
    """Read the presets in `folder` and validate each as a recipe."""
    files = sorted(path for path in folder.glob("*.yaml") if path.name not in _NOT_PRESETS)
    return sorted((_preset(path) for path in files), key=lambda item: (item.order, item.name))


@cache
def _read(folder: Path) -> tuple[Preset, ...]:
    return tuple(read_presets(folder))


def _preset(path: Path) -> Preset:
    values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
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
    """Merge `above` into `below` recursively. A different method or task replaces the whole part, because its options
    differ.
    """
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

"""Finds everything that the studio can say, and where: templates in the code, texts of options, methods, tasks, presets, models.

Reads source files as syntax trees, so that a sentence in an error branch that no test reaches is found as well.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections import defaultdict
from pathlib import Path

import yaml

from studio.forecast import PARTS
from studio.home import ASSETS, PRESETS, REPOSITORY
from studio.methods import FAMILIES, METHODS
from studio.options import Options, form_fields
from studio.presets import presets
from studio.tasks import TASKS

STUDIO = REPOSITORY / "studio"
# The call → which argument is the English template.
SAYING = {"Sentence": 0, "StudioError": 0, "StudioErrorValue": 0, "RowProblem": 1, "t": 0}
# Small parts of the house that have no translation file of their own.
_ROOMS = {"options": "recipe", "tasks": "recipe", "home": "recipe", "registry": "recipe", "words": "recipe", "store": "recipe"}
OPTIONS_LIVE_IN = ("studio.recipe", "studio.data.mapping", "studio.data.dataset")


def templates() -> dict[str, set[str]]:
    """Every English text that a person may read → the places it comes from ("studio/data/read.py", "option of LoRA")."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(STUDIO.rglob("*.py")):
        for text in literals(ast.parse(path.read_text(encoding="utf-8"))):
            found[text].add(str(path.relative_to(REPOSITORY)))
    for text, place in [*_options(), *_cards(), *_yaml()]:
        found[text].add(place)
    return {text: places for text, places in found.items() if needs_translation(text)}


def literals(tree: ast.Module) -> list[str]:
    """The templates in calls of `Sentence` and its kin: literal, chosen by an `if`, or a constant of the module."""
    constants = {
        target.id: node.value.value
        for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets if isinstance(target, ast.Name)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if name in SAYING and len(node.args) > SAYING[name]:
            found += _texts(node.args[SAYING[name]], constants)
    return found


def _texts(node: ast.expr, constants: dict[str, str]) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return _texts(node.body, constants) + _texts(node.orelse, constants)
    return [constants[node.id]] if isinstance(node, ast.Name) and node.id in constants else []


def strings() -> set[str]:
    """Every string in the code, in presets and in cards, however it is used: what a translation may belong to."""
    found = {text for text, _ in [*_options(), *_cards(), *_yaml()]}
    for path in [*STUDIO.rglob("*.py"), REPOSITORY / "app.py"]:
        if path.exists():
            found |= {node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found


def _options():
    for name in OPTIONS_LIVE_IN:
        importlib.import_module(name)
    for cls in _below(Options):
        place = f"option of {cls.__name__} ({cls.__module__.replace('.', '/')}.py)"
        for info in cls.model_fields.values():
            if info.title:
                yield info.title, place
        for field in form_fields(cls):
            yield from ((field[part], place) for part in ("help", "unit", "group"))
            yield from ((choice["label"], place) for choice in field["choices"] if choice["label"] != choice["value"])


def _below(cls: type) -> list[type]:
    return [each for child in cls.__subclasses__() for each in (child, *_below(child)) if each.__module__.startswith("studio.")]


def _cards():
    for family in FAMILIES.values():
        yield family, "studio/methods/base.py"
    yield from ((part, "studio/forecast/estimate.py") for part in PARTS.values())
    for name, method in METHODS.items():
        card, place = method.card(), f"card of {name} (studio/methods)"
        yield from ((text, place) for text in (method.title, card.idea, card.good_for, card.cost, card.limits))
    for name, task in TASKS.items():
        yield from ((text, f"task {name} (studio/tasks)") for text in (task.title, task.verb, task.help))


def _yaml():
    for preset in presets():
        yield from ((text, f"presets/{preset.name}.yaml") for text in (preset.title, preset.description))
    for offer in yaml.safe_load((PRESETS / "models.yaml").read_text(encoding="utf-8")):
        yield offer.get("note", ""), "presets/models.yaml"


def needs_translation(text: str) -> bool:
    """False for what has no words: "{first} {rest}", "×", "…"."""
    return bool(re.search(r"[A-Za-z]", re.sub(r"\{[^}]*\}", "", text)))


def placeholders(text: str) -> set[str]:
    """The names in braces, without their format."""
    return {re.split(r"[:!.\[]", name)[0] for name in re.findall(r"\{([^{}]*)\}", text)}


def translation_files(language: str) -> dict[str, dict[str, str]]:
    """File name → its translations, as written."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ASSETS / "i18n" / language).glob("*.json"))}


def room(places: set[str]) -> str:
    """The translation file in which a text from `places` is looked for first, after the part of the house it comes from."""
    first = min(places)
    path = re.search(r"(?:studio|presets)/[\w/.]+", first)
    parts = Path(path.group(0)).with_suffix("").parts if path else ("?",)
    if parts[0] == "presets":
        return "models.json" if parts[-1] == "models" else "presets.json"
    return f"{_ROOMS.get(parts[1], parts[1])}.json"

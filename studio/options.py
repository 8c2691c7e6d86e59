"""Declare options as pydantic fields, and derive form fields and readable validation errors from them.

Every part of a recipe, every method and every task is a subclass of `Options`. A field declares its title, help, unit,
range, default and whether it is shown under "advanced"; this module converts that into plain dictionaries from which a
form is built. Independent of Gradio and of what the options mean.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from studio.words import Sentence, StudioError


@dataclass(frozen=True)
class SearchRange:
    """Where good values of an option are looked for by a hyperparameter search (`studio.search`).

    low, high: the proposed ends of a number's range; factor: in their place, how far the range reaches from the
    recipe's own value, in both directions. log: whether a ratio counts, not a difference. choices: the values of a
    choice that are tried.
    """

    low: float | None = None
    high: float | None = None
    factor: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()


def option(
    default: Any,
    title: str,
    help: str,
    *,
    unit: str = "",
    advanced: bool = False,
    group: str = "",
    labels: dict[str, str] | None = None,
    slider: bool = False,
    hidden: bool = False,
    adapters: str = "",
    made_with: dict[str, str] | None = None,
    search: SearchRange | None = None,
    **limits,
) -> Any:
    """A pydantic field with the metadata that a form needs.

    title, help: English, translatable. unit: shown after the value. labels: choice value → displayed text. limits:
    pydantic's ge, gt, le, lt, min_length, max_length, pattern. hidden: not part of the form (set elsewhere).
    adapters: the peft type ("PROMPT_TUNING") of the adapters that can be chosen; the value is then an adapter's id in
    the library, or a list of ids (`list[str]`). made_with: options with which such an adapter must have been trained.
    search: where a hyperparameter search looks for good values; None: it leaves the option alone.
    """
    extra = {
        "unit": unit,
        "advanced": advanced,
        "group": group,
        "labels": labels or {},
        "slider": slider,
        "hidden": hidden,
        "adapters": adapters,
        "made_with": made_with or {},
        "search": search,
    }
    return Field(default, title=title, description=help, json_schema_extra=extra, **limits)


class Options(BaseModel):
    """Base class of all option groups. Unknown keys are rejected, so that no misspelled option is ignored silently."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=(), allow_inf_nan=False)


def form_fields(cls: type[Options]) -> list[dict]:
    """The fields of `cls` for a form, in order, as dictionaries (see `_field` for the keys).

    kind is one of number, integer, switch, choice, several (of the choices), text. `optional` is true where the value
    may be empty (None). If `adapters` is set, the choices are the library's adapters of that type; the form looks them
    up.
    """
    return [
        _field(key, info) for key, info in cls.model_fields.items() if not (info.json_schema_extra or {}).get("hidden")
    ]


def search_ranges(cls: type[Options]) -> dict[str, SearchRange]:
    """Key → where a hyperparameter search looks for good values, for the options of `cls` that it can change."""
    extras = {key: info.json_schema_extra or {} for key, info in cls.model_fields.items()}
    return {key: extra["search"] for key, extra in extras.items() if extra.get("search") and not extra.get("hidden")}


def _field(key: str, info: FieldInfo) -> dict:
    extra = info.json_schema_extra or {}
    annotation, optional = _without_none(info.annotation)
    listed = typing.get_origin(annotation) is list
    chosen_from = typing.get_args(annotation)[0] if listed else annotation
    choices = (
        [str(value) for value in typing.get_args(chosen_from)] if typing.get_origin(chosen_from) is Literal else []
    )
    kind = (
        ("several" if listed else "choice")
        if choices
        else {bool: "switch", int: "integer", float: "number"}.get(annotation, "text")
    )
    if extra.get("adapters"):
        kind = "several" if listed else "choice"
    limits = {}
    for item in info.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if hasattr(item, name):
                limits[name] = getattr(item, name)
    return {
        "key": key,
        "kind": kind,
        "title": info.title or key,
        "help": info.description or "",
        "default": info.get_default(call_default_factory=True),
        "unit": extra.get("unit", ""),
        "advanced": extra.get("advanced", False),
        "group": extra.get("group", ""),
        "optional": optional,
        "minimum": limits.get("ge", limits.get("gt")),
        "maximum": limits.get("le", limits.get("lt")),
        "slider": extra.get("slider", False),
        "adapters": extra.get("adapters", ""),
        "made_with": extra.get("made_with", {}),
        "choices": [{"value": value, "label": extra.get("labels", {}).get(value, value)} for value in choices],
    }


def _without_none(annotation) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(kept) == 1:
            return kept[0], True
    return annotation, False


def check(cls: type[Options], values: dict) -> tuple[Options | None, dict[str, Sentence]]:
    """Validate `values`: (instance of `cls`, {}) or (None, {invalid field: sentence}), with key "" for the whole."""
    try:
        return cls.model_validate(values), {}
    except ValidationError as error:
        return None, problems(cls, error)


def problems(
    cls: type[BaseModel], error: ValidationError, chosen: dict[str, type[BaseModel] | None] | None = None
) -> dict[str, Sentence]:
    """Convert pydantic's errors to sentences, keyed by the dotted path of their field.

    chosen: for each field of `cls` that holds one of several classes, the class that it holds.
    """
    found: dict[str, Sentence] = {}
    for item in error.errors():
        place = [str(part) for part in item["loc"]]
        found.setdefault(".".join(place), _sentence(_title(cls, place, chosen or {}), item))
    return found


def _title(cls: type[BaseModel], place: list[str], chosen: dict[str, type[BaseModel] | None]) -> Sentence:
    """The displayed title of the field; its key if its class is unknown."""
    info = None
    current: Any = cls
    for depth, part in enumerate(place):
        fields = getattr(current, "model_fields", {})
        info = fields.get(part)
        current = (
            chosen.get(part) if depth == 0 and part in chosen else _without_none(info.annotation)[0] if info else None
        )
    return Sentence(info.title if info and info.title else (place[-1] if place else "recipe"))


def _sentence(title: Sentence, item: dict) -> Sentence:
    given, context = str(item.get("input"))[:60], item.get("ctx", {})
    if item.get("input", "") is None and item["type"].endswith("_type"):
        return Sentence("{title} is missing.", title=title)
    match item["type"]:
        case "greater_than_equal":
            return Sentence(
                "{title} must be at least {limit}, but is {given}.",
                title=title,
                limit=_number(context["ge"]),
                given=given,
            )
        case "greater_than":
            return Sentence(
                "{title} must be more than {limit}, but is {given}.",
                title=title,
                limit=_number(context["gt"]),
                given=given,
            )
        case "less_than_equal":
            return Sentence(
                "{title} must be at most {limit}, but is {given}.",
                title=title,
                limit=_number(context["le"]),
                given=given,
            )
        case "less_than":
            return Sentence(
                "{title} must be less than {limit}, but is {given}.",
                title=title,
                limit=_number(context["lt"]),
                given=given,
            )
        case "int_parsing" | "int_type" | "int_from_float":
            return Sentence("{title} must be a whole number, but is '{given}'.", title=title, given=given)
        case "float_parsing" | "float_type" | "finite_number":
            return Sentence("{title} must be a number, but is '{given}'.", title=title, given=given)
        case "literal_error":
            return Sentence(
                "{title} must be one of {choices}, but is '{given}'.",
                title=title,
                choices=context["expected"],
                given=given,
            )
        case "extra_forbidden":
            return Sentence("'{name}' is not an option here; remove it or check its spelling.", name=item["loc"][-1])
        case "missing":
            return Sentence("{title} is missing.", title=title)
        case _:
            cause = context.get("error")
            if isinstance(cause, InvalidOption):
                return cause.sentence
            return Sentence(
                "{title} cannot be '{given}': {detail}.", title=title, given=given, detail=item["msg"].rstrip(".")
            )


def _number(limit: float) -> float | int:
    """Convert integral floats to int, so that 10.0 is displayed as 10."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


class InvalidOption(ValueError):
    """Raised inside a pydantic validator to reject a value with a specific sentence."""

    def __init__(self, text: str, /, **values):
        self.sentence = Sentence(text, **values)
        super().__init__(str(self.sentence))


def require_valid(cls: type[Options], values: dict) -> Options:
    """Validate `values` as an instance of `cls`. Raises `StudioError` with one sentence for each problem."""
    made, wrong = check(cls, values)
    if made is None:
        raise StudioError(join(list(wrong.values())))
    return made


def join(sentences: list[Sentence]) -> Sentence:
    """Concatenate several sentences, separated by spaces."""
    if len(sentences) == 1:
        return sentences[0]
    return Sentence("{first} {rest}", first=sentences[0], rest=join(sentences[1:]))

"""A form made from options: one component draws every field that `studio.options.form_fields` lists.

    form = OptionForm(LoraOptions, language="zh")
    form.change(check, form, form)             # check(raw) → form.show(errors=form_values(raw, LoraOptions)[1])

Its value is a plain dict {key: value}; a field that holds no number holds the text that was typed, so that the sentence
about it can quote it. It knows nothing about what an option does, nor about recipes.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Any

import gradio as gr
from pydantic_core import PydanticUndefined

from studio.home import ASSETS
from studio.options import Options, check, form_fields
from studio.words import Sentence, translate


@cache
def _script() -> str:
    return (ASSETS / "ui" / "form.js").read_text(encoding="utf-8")


class OptionForm(gr.HTML):
    """The fields of an `Options` class as a form; its value is {key: value} and `change` fires when the person edits."""

    def __init__(
        self, options: type[Options] | None = None, *, language: str = "en", value: dict | None = None,
        fields: list[dict] | None = None, errors: dict[str, str] | None = None, words: dict[str, str] | None = None,
        locked: bool = False, **kwargs,
    ):
        """`fields`, `errors` and `words` are what the browser draws, made here from `options`; `locked` shows without editing."""
        self._language = language
        drawn = fields if fields is not None else said_fields(options, language)
        for name in ("html_template", "js_on_load", "apply_default_css"):
            kwargs.pop(name, None)
        super().__init__(
            value if value is not None else defaults(options), html_template='<div class="option-form"></div>',
            js_on_load=_script(), apply_default_css=False, fields=drawn, errors=errors or {}, locked=locked,
            words=words or _words(language), **kwargs,
        )

    def show(
        self, options: type[Options] | None = None, *, values: dict | Options | None = None,
        errors: dict[str, Sentence] | None = None, locked: bool | None = None,
    ) -> dict:
        """An update for a handler to return: other fields, other values, other sentences next to the fields.

        Values that are not given stay as they are, unless the fields change: then they are the defaults.
        """
        update: dict[str, Any] = {}
        if options is not None:
            update["fields"] = said_fields(options, self._language)
            update["value"] = defaults(options) | plain(values)
            update["errors"] = {}
        elif values is not None:
            update["value"] = plain(values)
        if errors is not None:
            # An empty key does not survive the way to the browser.
            update["errors"] = {key or "whole": sentence.say(self._language) for key, sentence in errors.items()}
        if locked is not None:
            update["locked"] = locked
        return gr.update(**update)

    def change(self, *args, **kwargs):
        """When the person edits. Gradio's own `change` fires as well when the server shows a value: a handler that answers
        with values would hear its own answer."""
        return self.input(*args, **kwargs)

    def preprocess(self, payload: Any) -> dict:
        return payload if isinstance(payload, dict) else {}

    def postprocess(self, value: Any) -> dict:
        return plain(value)

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}

    def example_payload(self) -> Any:
        return {}

    def example_value(self) -> Any:
        return {}


def _words(language: str) -> dict[str, str]:
    return {
        "advanced": translate("Advanced", language),
        "optional": translate("automatic", language),
        "none": translate("automatic", language),
        "reset": translate("Back to the default: {value}", language),
        "empty": translate("Nothing to set here.", language),
    }


def said_fields(options: type[Options] | None, language: str = "en") -> list[dict]:
    """`form_fields` in `language`, ready for JSON."""
    fields = form_fields(options) if options else []
    for field in fields:
        for part in ("title", "help", "unit", "group"):
            field[part] = translate(field[part], language)
        field["choices"] = [{**choice, "label": translate(choice["label"], language)} for choice in field["choices"]]
        field["default"] = _json(field["default"])
    return fields


def defaults(options: type[Options] | None) -> dict:
    """Every field of the form with its default."""
    return {field["key"]: _json(field["default"]) for field in (form_fields(options) if options else [])}


def plain(values: dict | Options | None) -> dict:
    """Options or a dict as a JSON-ready dict."""
    if isinstance(values, Options):
        return values.model_dump(mode="json")
    return dict(values) if isinstance(values, dict) else {}


def _json(value: Any) -> Any:
    if value is PydanticUndefined:
        return None
    return list(value) if isinstance(value, tuple | set) else value


def form_values(raw: dict, options: type[Options]) -> tuple[Options | None, dict[str, Sentence]]:
    """What the form holds as an instance of `options`, or None with a sentence for each field that is wrong.

    Keys that the form does not have are left out: they are left over from the form that was there before.
    """
    values: dict[str, Any] = {}
    missing: dict[str, Sentence] = {}
    for field in form_fields(options):
        key = field["key"]
        if key not in raw:
            continue
        value = raw[key]
        empty = value is None or (isinstance(value, str) and not value.strip() and field["kind"] != "text")
        if empty and not field["optional"]:
            missing[key] = Sentence("{title} is missing.", title=Sentence(field["title"]))
            continue
        values[key] = None if empty else _listed(value, options, key)
    made, wrong = check(options, values)
    wrong = {**wrong, **missing}
    return (None, wrong) if wrong else (made, {})


def _listed(value: Any, options: type[Options], key: str) -> Any:
    """Text for an option that is a list, cut at its commas."""
    annotation = options.model_fields[key].annotation
    kinds = [typing.get_origin(part) or part for part in (annotation, *typing.get_args(annotation))]
    if isinstance(value, str) and list in kinds:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value

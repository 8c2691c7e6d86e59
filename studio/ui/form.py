"""A form component generated from options: it draws every field listed by `studio.options.form_fields`.

    form = OptionForm(LoraOptions, language="zh")
    form.input(check, form, form)              # check(raw) → form.complain(form_values(raw, LoraOptions)[1])

Its value is a plain dict {key: value}. A number field with invalid input keeps the typed text, so that the error
message can quote it. The form does not depend on the meaning of an option or on recipes.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
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
    """The fields of an `Options` class as a form; handlers receive {key: value}, and `input` fires on user edits.

    All state that changes is in the component's value, as {"fields", "values", "errors", "locked"}: for a component in
    a tab that was never opened, Gradio keeps the value but loses other properties at the first update (6.31, measured).
    """

    def __init__(
        self,
        options: type[Options] | None = None,
        *,
        language: str = "en",
        value: dict | None = None,
        errors: dict[str, Sentence] | None = None,
        locked: bool = False,
        adapters: Callable[[str, dict], dict[str, str]] | None = None,
        **kwargs,
    ):
        """Create the form; `options` may also be given later with `show`, and `locked` makes the form read-only.

        `adapters` lists the library adapters that an option can choose from: (kind they ship as, options of their
        method) → {id: name}.
        """
        self._language, self._options, self._adapters = language, options, adapters
        for name in ("html_template", "js_on_load", "apply_default_css"):
            kwargs.pop(name, None)
        super().__init__(
            self._whole(options, value, errors, locked),
            html_template='<div class="option-form"></div>',
            js_on_load=f"const words = {json.dumps(_words(language))};\n{_script()}",
            apply_default_css=False,
            **kwargs,
        )

    def _whole(
        self,
        options: type[Options] | None,
        values: dict | Options | None,
        errors: dict[str, Sentence] | None,
        locked: bool,
    ) -> dict:
        text = {key: sentence.say(self._language) for key, sentence in (errors or {}).items()}
        return {
            "fields": translated_fields(options, self._language, self._adapters),
            "values": defaults(options) | plain(values),
            "errors": text,
            "locked": locked,
        }

    def show(
        self,
        options: type[Options] | None = None,
        *,
        values: dict | Options | None = None,
        errors: dict[str, Sentence] | None = None,
        locked: bool = False,
    ) -> dict:
        """Return an update of the whole form, for a handler to return.

        It shows the fields of `options` (default: those given to the constructor) with `values`.
        """
        return gr.update(value=self._whole(options or self._options, values, errors, locked))

    def complain(self, errors: dict[str, Sentence]) -> dict:
        """Return an update of the error messages only, for the handler of `input`; keeps the user's input."""
        return gr.update(value={"errors": {key: sentence.say(self._language) for key, sentence in errors.items()}})

    def input(self, *args, **kwargs):
        """Like Gradio's `input`, but an edit made while an earlier one is being handled is sent afterwards.

        Gradio's default trigger mode, "once", would drop it.
        """
        return super().input(*args, **({"trigger_mode": "always_last"} | kwargs))

    def preprocess(self, payload: Any) -> dict:
        values = payload.get("values") if isinstance(payload, dict) else None
        return values if isinstance(values, dict) else {}

    def postprocess(self, value: Any) -> dict:
        return value if isinstance(value, dict) else {}

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
        "noAdapter": translate(
            "The library has no adapter for this yet. Train one on this base model first, then choose it here.",
            language,
        ),
        "chooseAdapter": translate("none chosen", language),
        "gone": translate("{name} (not in the library any more)", language),
    }


def translated_fields(
    options: type[Options] | None, language: str = "en", adapters: Callable[[str, dict], dict[str, str]] | None = None
) -> list[dict]:
    """Return `form_fields` in `language`, ready for JSON. `adapters`: see `OptionForm`."""
    fields = form_fields(options) if options else []
    for field in fields:
        for part in ("title", "help", "unit", "group"):
            field[part] = translate(field[part], language)
        field["choices"] = [{**choice, "label": translate(choice["label"], language)} for choice in field["choices"]]
        if field["adapters"] and adapters:
            field["choices"] = [
                {"value": key, "label": name} for key, name in adapters(field["adapters"], field["made_with"]).items()
            ]
        field["default"] = _json(field["default"])
    return fields


def defaults(options: type[Options] | None) -> dict:
    """Return the default of every field of the form."""
    return {field["key"]: _json(field["default"]) for field in (form_fields(options) if options else [])}


def plain(values: dict | Options | None) -> dict:
    """Convert options or a dict to a JSON-ready dict."""
    if isinstance(values, Options):
        return values.model_dump(mode="json")
    return dict(values) if isinstance(values, dict) else {}


def _json(value: Any) -> Any:
    if value is PydanticUndefined:
        return None
    return list(value) if isinstance(value, tuple | set) else value


def form_values(raw: dict, options: type[Options]) -> tuple[Options | None, dict[str, Sentence]]:
    """Validate the form's value; return (instance of `options`, {}) or (None, {key: error message}).

    Keys that the form does not have are ignored: they remain from the form shown before.
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
    """Split text at its commas if the option is a list; return any other value unchanged."""
    annotation = options.model_fields[key].annotation
    kinds = [typing.get_origin(part) or part for part in (annotation, *typing.get_args(annotation))]
    if isinstance(value, str) and list in kinds:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value

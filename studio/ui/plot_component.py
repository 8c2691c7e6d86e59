"""A component whose script draws with Plotly what server functions answer; its value is a text."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import gradio as gr

from studio.home import ASSETS
from studio.ui.launch import PLOTLY


class PlotComponent(gr.HTML):
    """Base class of the plots that are drawn in the browser.

    scripts: file names in `assets/ui`, run as one when the component appears. constants: name → value that JSON can
    hold; constants of the script. They are no properties of the component, because Gradio (6.31) loses those of a
    component in a tab that was never opened at the first update.
    """

    def __init__(
        self,
        value: str,
        *,
        css_class: str,
        scripts: tuple[str, ...],
        constants: dict[str, Any],
        server_functions: list[Callable],
        **kwargs,
    ):
        for name in ("html_template", "js_on_load", "apply_default_css"):
            kwargs.pop(name, None)
        constants = {**constants, "script_address": PLOTLY}
        super().__init__(
            value,
            html_template=f'<div class="{css_class}"></div>',
            apply_default_css=False,
            server_functions=server_functions,
            js_on_load=f"const {{ {', '.join(constants)} }} = {json.dumps(constants)};\n{_text_of(*scripts)}",
            **kwargs,
        )

    def preprocess(self, payload: Any) -> str:
        return payload if isinstance(payload, str) else ""

    def postprocess(self, value: Any) -> str:
        return value if isinstance(value, str) else ""

    def example_payload(self) -> Any:
        return ""

    def example_value(self) -> Any:
        return ""


@cache
def _text_of(*scripts: str) -> str:
    """The scripts as one, with what all scripts that draw with Plotly need in front of them."""
    return "\n".join((ASSETS / "ui" / name).read_text(encoding="utf-8") for name in ("plot_parts.js", *scripts))

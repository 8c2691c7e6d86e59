"""Base class of components that are drawn or driven by a script of their own; the value is a text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr


class ScriptedHTML(gr.HTML):
    """HTML whose `script` runs once, when the component appears, and asks `server_functions`.

    constants: name → value that JSON can hold; constants of the script. They are no properties of the component,
    because Gradio (6.31) loses those of a component in a tab that was never opened at the first update.
    """

    def __init__(
        self,
        value: str,
        *,
        template: str,
        script: str,
        constants: dict[str, Any],
        server_functions: list[Callable],
        **kwargs,
    ):
        for name in ("html_template", "js_on_load", "apply_default_css"):
            kwargs.pop(name, None)
        super().__init__(
            value,
            html_template=template,
            apply_default_css=False,
            server_functions=server_functions,
            js_on_load=f"const {{ {', '.join(constants)} }} = {json.dumps(constants)};\n{script}",
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

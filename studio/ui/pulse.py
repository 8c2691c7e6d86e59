"""A component that sends an event whenever what the server would draw has changed.

    pulse = Pulse(lambda run: {"tick": stamp_of(run)}, seconds=1.0)
    page.on(pulse.tick, redraw, page.run, [board])
    page.on(run.change, lambda run: run, run, pulse)      # its value is the argument of the function

In place of `gr.Timer`, whose ticks cost the browser as much as a click: Gradio's page looks through all components for
each output of each event, which for the Train tab took a fifth of a second on two cores. A question of this component
touches none of them, is asked only while its tab is in sight, and is answered without drawing anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.home import ASSETS


class Pulse(gr.HTML):
    """Asks `stamps(value)` for event → stamp, and sends those events whose stamp has changed; at first, all of them.

    seconds: between two questions; hidden_seconds: the same while the page is hidden, 0 for never.
    """

    def __init__(
        self, stamps: Callable[[str], dict[str, str]], *, seconds: float, hidden_seconds: float = 0, value="", **kwargs
    ):
        for name in ("html_template", "js_on_load", "apply_default_css", "visible"):
            kwargs.pop(name, None)
        script = (ASSETS / "ui" / "pulse.js").read_text(encoding="utf-8")
        constants = {"every": 1000 * seconds, "hidden_every": 1000 * hidden_seconds}

        def stamps_of(value: Any) -> dict[str, str]:
            return stamps(value if isinstance(value, str) else "")

        super().__init__(
            value,
            visible="hidden",
            apply_default_css=False,
            html_template="",
            server_functions=[stamps_of],
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

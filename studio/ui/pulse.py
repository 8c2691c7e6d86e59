"""A component that sends an event whenever what the server would draw has changed.

    pulse = Pulse(lambda run: {"tick": stamp_of(run)}, seconds=1.0)
    page.on(pulse.tick, redraw, page.run, [board])
    page.on(run.change, lambda run: run, run, pulse)      # its value is the argument of the function

In place of `gr.Timer`, whose ticks cost the browser as much as a click: Gradio's page looks through all components for
each output of each event, which for the Train tab took a fifth of a second on two cores. A question of this component
touches none of them, is asked only while its tab is in sight, and its answer is a few bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.home import ASSETS
from studio.ui.scripted_html import ScriptedHTML


class Pulse(ScriptedHTML):
    """Asks `stamps(value)` for event → stamp, and sends those events whose stamp has changed; at first, all of them.

    seconds: between two questions; hidden_seconds: the same while the page is hidden, 0 for never.
    """

    def __init__(
        self, stamps: Callable[[str], dict[str, str]], *, seconds: float, hidden_seconds: float = 0, value="", **kwargs
    ):
        def stamps_of(value: Any) -> dict[str, str]:
            return stamps(value if isinstance(value, str) else "")

        kwargs.pop("visible", None)
        super().__init__(
            value,
            visible="hidden",
            template="",
            script=(ASSETS / "ui" / "pulse.js").read_text(encoding="utf-8"),
            constants={"every": 1000 * seconds, "hidden_every": 1000 * hidden_seconds},
            server_functions=[stamps_of],
            **kwargs,
        )

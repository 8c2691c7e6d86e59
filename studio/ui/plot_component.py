"""A component whose script draws with Plotly what server functions answer; its value is a text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from studio.home import ASSETS
from studio.ui.launch import PLOTLY
from studio.ui.scripted_html import ScriptedHTML


class PlotComponent(ScriptedHTML):
    """Base class of the plots that are drawn in the browser.

    scripts: file names in `assets/ui`, run as one when the component appears.
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
        super().__init__(
            value,
            template=f'<div class="{css_class}"></div>',
            script=_text_of(*scripts),
            constants={**constants, "script_address": PLOTLY},
            server_functions=server_functions,
            **kwargs,
        )


@cache
def _text_of(*scripts: str) -> str:
    """The scripts as one, with what all scripts that draw with Plotly need in front of them."""
    return "\n".join((ASSETS / "ui" / name).read_text(encoding="utf-8") for name in ("plot_parts.js", *scripts))

"""The seam between the Library's shelf and its panels (export, compare, …), which work on the adapters chosen there.

A panel is a module with `build(page) -> Callable[[], None]`, as a tab is one. The shelf keeps what is open in the
hidden component `page.parts["library-opened"]`, as the text of an `Opened`; a panel binds its `change` event, shows
itself when its own name stands there, and hides otherwise. This module does not depend on what the panels do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Opened:
    """Which panel is open ("": none) and the ids of the adapters that it works on, in the order of their choice."""

    panel: str = ""
    adapters: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Opened:
        """The inverse of `str`."""
        panel, _, adapters = (text or "").partition(":")
        return cls(panel, tuple(adapter for adapter in adapters.split(",") if adapter))

    def __str__(self) -> str:
        return f"{self.panel}:{','.join(self.adapters)}" if self.panel else ""

"""The seam between the Library tab and its panels (export, compare, …), which work on the adapters chosen there.

A panel is a module with `build(page) -> Callable[[], None]`, as a tab is one. The tab keeps what is open in the
hidden component `page.parts["library-opened"]`, as the text of an `Opened`; a panel binds its `change` event, shows
itself when its own name stands there, and hides otherwise. This module does not depend on what the panels do.

`library_tab.PANELS` names the panels. The bar above the cards offers a button for each of them that fits the number of
adapters selected, and opens it with their ids. A panel module says what it fits by these attributes, all optional:

    TITLE    the button's text in English, translated by the page; without it the panel has no button in the bar
    MINIMUM  fewest adapters that it works on; by default 1
    MAXIMUM  most adapters that it works on, None for any number; by default 1
    refusal  refusal(page, rows) -> Sentence | None: why it cannot work on the adapters of `rows` (rows of the store,
             in the order of their choice), None if it can. The button is then greyed out, with this reason
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from studio.words import Sentence


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


def fits(panel: ModuleType, count: int) -> bool:
    """Whether the bar offers `panel` for `count` selected adapters."""
    most = getattr(panel, "MAXIMUM", 1)
    return hasattr(panel, "TITLE") and getattr(panel, "MINIMUM", 1) <= count and (most is None or count <= most)


def refusal_of(panel: ModuleType, page, rows: list[dict]) -> Sentence | None:
    """Why `panel` cannot work on the adapters of `rows`; None if it can."""
    refusal = getattr(panel, "refusal", None)
    return refusal(page, rows) if refusal else None

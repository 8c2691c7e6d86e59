"""The bar above the Library's cards: which adapters are selected, and what can be done with them.

It offers the panels that fit their number, see `studio.ui.library_panel`.
"""

from __future__ import annotations

from types import ModuleType

from studio.ui.html_parts import button, e
from studio.ui.library_cards import shortened
from studio.ui.library_panel import fits, refusal_of
from studio.ui.library_view import View
from studio.ui.page import Page

_NAMED = 6  # selected adapters that are named; the others are counted


def bar_html(page: Page, view: View, panels: dict[str, ModuleType], owner: bool = True) -> str:
    """Return the bar; "" for visitors and in the trash, where nothing can be selected."""
    if not owner or view.deleted:
        return ""
    every = button(page.t("Select all on this page"), "select-page")
    rows = selected_rows(page, view)
    if not rows:
        help_text = page.t("Select adapters by their boxes to see what can be done with them.")
        return f'<div class="selection"><span class="help">{e(help_text)}</span>{every}</div>'
    names = ", ".join(shortened(row["name"], 40) for row in rows[:_NAMED])
    more = f" + {len(rows) - _NAMED}" if len(rows) > _NAMED else ""
    offered = "".join(
        button(page.t(panel.TITLE), act, disabled=page.say(refusal_of(panel, page, rows)), kind="primary")
        for act, panel in panels.items()
        if fits(panel, len(rows))
    )
    count = page.t("{count} {count:adapter|adapters} selected", count=len(rows))
    return (
        f'<div class="selection chosen" role="status"><strong>{e(count)}</strong>'
        f'<span class="help">{e(names + more)}</span><span class="buttons">{offered}{every}'
        f"{button(page.t('Clear the selection'), 'clear')}"
        f"{button(page.t('Delete the selected'), 'delete-selected', kind='danger')}</span></div>"
    )


def selected_rows(page: Page, view: View) -> list[dict]:
    """Return the rows of the selected adapters that are still in the library, in the order of their selection."""
    rows = (page.store.adapter(adapter) for adapter in view.selected)
    return [row for row in rows if row and row["deleted"] is None]


def picked(view: View, checked: list[str], listed: list[str]) -> str:
    """Return the selection, as `View.chosen`, after the boxes of the adapters `listed` stand as in `checked`.

    Adapters on other pages stay selected. The same answer whatever was selected among those listed before, so that
    clicks that overtake each other do no harm.
    """
    kept = [adapter for adapter in view.selected if adapter not in listed or adapter in checked]
    return ",".join([*kept, *(adapter for adapter in checked if adapter not in kept)])

"""What the Library tab shows: the controls for search, filters and order, and their values as one `View`.

The controls are Gradio's; finding is `studio.library.search`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import gradio as gr

from studio.evaluation.predictions import MACRO_F1, SCORES
from studio.library import search
from studio.library.search import LOSS, Query
from studio.methods import METHODS
from studio.tasks import TASKS
from studio.ui.page import Page

FILTERS = ("base", "method", "task", "tag", "metric")


class View(NamedTuple):
    """The values of the controls, in the order of `Controls.inputs`. at: number of the page of cards, from 0."""

    words: str | None = ""
    sort: str | None = "newest"
    deleted: bool = False
    base: str | None = ""
    method: str | None = ""
    task: str | None = ""
    tag: str | None = ""
    metric: str | None = ""
    bound: float | None = None
    at: str = "0"
    chosen: str = ""

    def query(self, owner: bool = True) -> Query:
        """What to find; for visitors, only among the adapters that are shown to them."""
        share = self.metric and self.metric != LOSS  # shares are entered in percent
        return Query(
            words=self.words or "",
            sort=self.sort or "newest",
            **{key: getattr(self, key) or None for key in FILTERS},
            bound=self.bound / 100 if share and self.bound is not None else self.bound,
            shown_only=not owner,
            deleted=bool(self.deleted) and owner,
        )

    @property
    def page_number(self) -> int:
        return int(self.at) if (self.at or "").isdigit() else 0

    @property
    def selected(self) -> tuple[str, ...]:
        """The ids of the selected adapters, in the order in which they were selected."""
        return tuple(adapter for adapter in (self.chosen or "").split(",") if adapter)

    @property
    def filtered(self) -> bool:
        """Whether search or filters restrict what is found."""
        return bool((self.words or "").strip() or any(getattr(self, key) for key in FILTERS))


@dataclass
class Controls:
    """The components whose values make a `View`; `at` and `chosen` are hidden."""

    words: gr.Textbox
    sort: gr.Dropdown
    deleted: gr.Checkbox
    base: gr.Dropdown
    method: gr.Dropdown
    task: gr.Dropdown
    tag: gr.Dropdown
    metric: gr.Dropdown
    bound: gr.Number
    at: gr.Textbox
    chosen: gr.Textbox

    @property
    def inputs(self) -> list:
        return list(vars(self).values())

    def view(self, values: dict) -> View:
        """The view of a handler's inputs, component → value."""
        return View(*(values[component] for component in self.inputs))

    @property
    def filters(self) -> list[gr.Dropdown]:
        return [getattr(self, key) for key in FILTERS]


def build(page: Page) -> Controls:
    """Create the controls."""
    with gr.Row(equal_height=True):
        words = gr.Textbox(
            label=page.t("Search"),
            placeholder=page.t("name, method, data, base model, tag or note"),
            scale=3,
            min_width=220,
            elem_id="library-search",
        )
        sort = gr.Dropdown(
            [(page.t(title), key) for key, title in search.SORTS.items()],
            value="newest",
            label=page.t("Order"),
            scale=1,
            min_width=200,
            elem_id="library-sort",
        )
        deleted = gr.Checkbox(label=page.t("Show the trash"), scale=1, min_width=140, elem_id="library-trash")
    with gr.Accordion(page.t("Filters"), open=False, elem_id="library-filters"), gr.Row(equal_height=True):
        found = {
            key: gr.Dropdown(
                [(page.t("Any"), "")],
                value="",
                label=page.t(title),
                min_width=150,
                allow_custom_value=True,
                elem_id=f"library-{key}",
            )
            for key, title in _TITLES.items()
        }
        bound = gr.Number(
            label=page.t("At least, in % (loss: at most)"), value=None, min_width=170, elem_id="library-bound"
        )
    at = gr.Textbox("0", visible="hidden", label=page.t("Page"), elem_id="library-at")
    chosen = gr.Textbox(visible="hidden", label=page.t("Selected"), elem_id="library-chosen")
    return Controls(words, sort, deleted, **found, bound=bound, at=at, chosen=chosen)


_TITLES = {"base": "Base model", "method": "Method", "task": "Task", "tag": "Tag", "metric": "Measured"}


def offered(page: Page, view: View, owner: bool) -> list:
    """Return updates of `Controls.filters`: the values that occur in the library, and the one chosen now."""
    found = search.choices(page.store, shown_only=not owner, deleted=bool(view.deleted) and owner)
    updates = []
    for key in FILTERS:
        now = getattr(view, key) or ""
        values = [*found[key], *([now] if now and now not in found[key] else [])]
        updates.append(
            gr.update(choices=[(page.t("Any"), ""), *((_named(page, key, value), value) for value in values)])
        )
    return updates


def metric_title(page: Page, key: str) -> str:
    """Return the title of a metric of `search.METRICS`."""
    scores = {**SCORES, "macro_f1": MACRO_F1}
    return page.say(scores[key].title) if key in scores else page.t("Validation loss")


def _named(page: Page, key: str, value: str) -> str:
    if key == "method" and value in METHODS:
        return page.t(METHODS[value].title)
    if key == "task" and value in TASKS:
        return page.t(TASKS[value].title)
    return metric_title(page, value) if key == "metric" else value

"""Compare runs, part of the Train tab: choose past runs, overlay their curves, see what differs, rename, tag, delete.

Comparing is `studio.runs`', the plot `run_curves`'. `build` also creates the ready-made comparisons and
the search, whose runs land here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import gradio as gr

from studio.library.adapter_store import good_name, good_tags
from studio.methods import METHODS
from studio.runs import export, removal, search
from studio.runs.comparison import compare
from studio.runs.curves import Curves
from studio.ui import ready_comparisons_panel, search_panel
from studio.ui.access import require_owner
from studio.ui.downloads import TAKE, fresh_folder
from studio.ui.html_parts import Board
from studio.ui.page import Page
from studio.ui.run_comparison_view import View, comparison_html, listing_html, picked_after, plot_value, result_title
from studio.ui.run_curves import RunCurves
from studio.ui.run_status import state_title
from studio.words import StudioError

_ROWS_CSV = "Download all recorded rows as CSV"
_TO_COMPARISON = """() => {
  document.querySelector('#compare-list')?.scrollIntoView({ block: 'start', behavior: 'smooth' });
  return [];
}"""


@dataclass
class Parts:
    """The components; the first six are the fields of a `View`."""

    words: gr.Textbox
    tag: gr.Dropdown
    method: gr.Dropdown
    state: gr.Dropdown
    at: gr.Textbox
    picked: gr.Textbox
    listing: Board
    edit: gr.Row
    name: gr.Textbox
    tags: gr.Textbox
    save: gr.Button
    shown: gr.Column
    by: gr.Dropdown
    plot: RunCurves
    table: gr.HTML
    seen: gr.Textbox
    compared: gr.Textbox
    table_csv: gr.Button
    rows_csv: gr.Button
    file: gr.DownloadButton

    @property
    def view(self) -> list:
        return [self.words, self.tag, self.method, self.state, self.at, self.picked]

    def view_of(self, values: dict) -> View:
        """The view of a handler's inputs, component → value."""
        return View(*(values[component] for component in self.view))

    @property
    def listed(self) -> list:
        """What `listed` updates."""
        return [self.listing, self.seen, self.at, self.tag, self.method, self.state]

    @property
    def comparison(self) -> list:
        """What `compared` updates."""
        return [self.compared, self.edit, self.name, self.tags, self.shown, self.by, self.plot, self.table]


def build(page: Page, changed: gr.Textbox):
    """Create the components; return a function that binds their event handlers.

    `changed` is a textbox whose value changes whenever a run begins, ends or is changed.
    """
    with gr.Accordion(page.t("Compare runs"), open=True, elem_id="compare-runs"):
        parts = _components(page)
    bind_ready = ready_comparisons_panel.build(page)
    bind_search = search_panel.build(page)

    def bind_all():
        bind(page, parts, changed)
        bind_ready(parts.tag, parts.picked, _TO_COMPARISON)
        bind_search(parts.tag, parts.picked, _TO_COMPARISON)

    return bind_all


def _components(page: Page) -> Parts:
    with gr.Row(equal_height=True):
        words = gr.Textbox(
            label=page.t("Search"),
            placeholder=page.t("name, tag, method, data or base model"),
            scale=2,
            min_width=280,
            elem_id="compare-search",
        )
        tag, method, state = (
            gr.Dropdown(
                [(page.t("Any"), "")],
                value="",
                label=label,
                min_width=130,
                allow_custom_value=True,
                elem_id=f"compare-{key}",
            )
            for key, label in (("tag", page.t("Tag")), ("method", page.t("Method")), ("state", page.t("State")))
        )
    listing = Board(elem_id="compare-list")
    with gr.Row(visible=False, elem_id="compare-edit", elem_classes="beside-button") as edit:
        name = gr.Textbox(label=page.t("Name"), max_length=120, min_width=200, elem_id="compare-name")
        tags = gr.Textbox(
            label=page.t("Tags"),
            placeholder=page.t("one or several, separated by commas"),
            info=page.t("Of one run: all its tags. Of several: added to those of each."),
            min_width=200,
            elem_id="compare-tags",
        )
        save = gr.Button(page.t("Save name and tags"), min_width=150, elem_id="compare-save")
    with gr.Column(visible=False, elem_id="comparison") as shown:
        plot = RunCurves(Curves(page.home, page.store), page.store, language=page.language, elem_id="compare-plot")
        by = gr.Dropdown([], label=page.t("Rank by"), allow_custom_value=True, elem_id="compare-by")
        table = gr.HTML(elem_id="compare-table", apply_default_css=False)
        with gr.Row():
            table_csv = gr.Button(page.t("Download this table as CSV"), elem_id="compare-csv")
            rows_csv = gr.Button(page.t(_ROWS_CSV), elem_id="compare-rows")
    at = gr.Textbox("0", visible="hidden", label=page.t("Page"), elem_id="compare-at")
    picked = gr.Textbox(visible="hidden", label=page.t("Selected"), elem_id="compare-picked")
    seen = gr.Textbox(visible="hidden", label=page.t("State"), elem_id="compare-seen")
    compared = gr.Textbox(visible="hidden", label=page.t("State"), elem_id="compare-stamp")
    file = gr.DownloadButton("csv", visible="hidden", elem_id="compare-file")
    return Parts(
        words, tag, method, state, at, picked, listing, edit, name, tags, save, shown, by, plot, table, seen, compared,
        table_csv, rows_csv, file,
    )  # fmt: skip


def bind(page: Page, parts: Parts, changed: gr.Textbox) -> None:
    """Bind the event handlers."""
    inputs = {*parts.view, parts.seen, parts.by, parts.compared, page.run}
    outputs = [*parts.listed, *parts.comparison]

    def look(values: dict):
        return _drawn(page, parts, values)

    def arrange(values: dict):
        return listed(page, parts, {**values, parts.at: "0"})

    def pick(values: dict, event: gr.EventData):
        return picked_after(parts.view_of(values), event.picked, event.listed)

    for event in (changed.change, page.run.change, parts.picked.change):
        page.on(event, look, inputs, outputs, shows="recipes", trigger_mode="always_last")
    page.on(parts.by.change, lambda values: compared(page, parts, values), inputs, parts.comparison, shows="recipes")
    for control in (parts.words, parts.tag, parts.method, parts.state):
        page.on(control.change, arrange, inputs, parts.listed, shows="recipes", trigger_mode="always_last")
    page.on(parts.listing.select, pick, inputs, parts.picked, shows="recipes", trigger_mode="multiple")
    _bind_actions(page, parts, inputs, outputs)


def _bind_actions(page: Page, parts: Parts, inputs: set, outputs: list) -> None:
    def press(values: dict, event: gr.EventData, profile: gr.OAuthProfile | None):
        if event.act == "delete":
            require_owner(profile, page.language)
        return on_press(page, parts, event.act, event.item, values)

    def keep(values: dict):
        view = parts.view_of(values)
        annotate(page, view.selected, values[parts.name], values[parts.tags])
        return _drawn(page, parts, values)

    def table_file(picked: str, by: str):
        found = compare(page.store, View(picked=picked).selected, by or "")
        path = fresh_folder(page.home) / "comparison.csv"
        path.write_text(export.table_csv(found), encoding="utf-8-sig", errors="replace", newline="")
        return gr.update(value=str(path))

    def rows_file(picked: str):
        path = fresh_folder(page.home) / "recorded-rows.csv"
        export.write_metrics(page.home, View(picked=picked).selected, path)
        return gr.update(value=str(path))

    acted = [page.run, parts.picked, *outputs]
    page.on(parts.listing.click, press, inputs, acted, shows="recipes")
    for event in (parts.save.click, parts.name.submit, parts.tags.submit):
        page.on(event, keep, {*inputs, parts.name, parts.tags}, outputs, changes=True)
    made = page.on(parts.table_csv.click, table_file, [parts.picked, parts.by], parts.file, changes=True)
    made.then(None, parts.file, None, js=TAKE)
    busy = gr.update(value=page.t("Writing the rows …"), interactive=False)
    ready = gr.update(value=page.t(_ROWS_CSV), interactive=True)
    writing = page.on(parts.rows_csv.click, lambda: busy, None, parts.rows_csv, changes=True)
    made = page.on(writing.success, rows_file, parts.picked, parts.file, changes=True)
    made.success(None, parts.file, None, js=TAKE)
    page.on(made.then, lambda: ready, None, parts.rows_csv, changes=True)


def _drawn(page: Page, parts: Parts, values: dict) -> dict:
    """Return updates of the list and of the comparison."""
    return {**listed(page, parts, values), **compared(page, parts, values)}


def listed(page: Page, parts: Parts, values: dict) -> dict:
    """Return updates of the list and its filters; only of its stamp if nothing has changed since `values[seen]`."""
    view = parts.view_of(values)
    found = search.matching(page.store, view.query)
    html = listing_html(page, view, found)
    now = hashlib.sha1(html.encode()).hexdigest()[:12]
    if now == values[parts.seen]:
        return {parts.seen: gr.skip()}
    offered = search.choices(page.store)
    titles = {
        "tag": lambda tag: tag,
        "method": lambda name: page.t(METHODS[name].title) if name in METHODS else name,
        "state": lambda state: state_title(page, state),
    }
    filters = {
        getattr(parts, key): gr.update(
            choices=[(page.t("Any"), ""), *((title(value), value) for value in offered[key])]
        )
        for key, title in titles.items()
    }
    return {parts.listing: html, parts.seen: now, parts.at: view.at, **filters}


def compared(page: Page, parts: Parts, values: dict) -> dict:
    """Return updates of what is shown of the picked runs; only of its stamp if they are as in `values[compared]`.

    The stamp is "ids picked;hash": the fields for name and tags are filled anew only when other runs are picked, so
    that nothing typed is lost.
    """
    view, by = parts.view_of(values), values[parts.by] or ""
    runs = [run for run_id in view.selected if (run := page.store.run(run_id))]
    facts = [[run[key] for key in ("id", "name", "tags", "state", "ended")] for run in runs]

    def stamp(by: str) -> str:
        return f"{view.picked};{hashlib.sha1(json.dumps([facts, by]).encode()).hexdigest()[:12]}"

    if stamp(by) == values[parts.compared]:
        return {parts.compared: gr.skip()}
    same = (values[parts.compared] or "").partition(";")[0] == (view.picked or "")
    updates = {} if same else _edit_updates(parts, runs)
    if len(runs) < 2:
        return {**updates, parts.compared: stamp(by), parts.shown: gr.Column(visible=False), parts.plot: ""}
    found = compare(page.store, [run["id"] for run in runs], by)
    return {
        **updates,
        parts.compared: stamp(found.by),
        parts.shown: gr.Column(visible=True),
        parts.by: gr.update(choices=[(result_title(page, key), key) for key in found.results], value=found.by),
        parts.plot: plot_value(page, found),
        parts.table: comparison_html(page, found),
    }


def _edit_updates(parts: Parts, runs: list[dict]) -> dict:
    only = runs[0] if len(runs) == 1 else None
    return {
        parts.edit: gr.Row(visible=bool(runs)),
        parts.name: gr.update(value=only["name"] if only else "", visible=bool(only)),
        parts.tags: gr.update(value=", ".join(only["tags"]) if only else ""),
    }


def on_press(page: Page, parts: Parts, act: str, item: str, values: dict) -> dict:
    """Carry out a button of the list; returns updates."""
    view = parts.view_of(values)
    match act:
        case "show":
            return {page.run: item}
        case "tag":
            return {parts.tag: item}
        case "page":
            return listed(page, parts, {**values, parts.at: item})
        case "pick-all":  # drawn at once, not after another request by the change of `picked`
            values = {**values, parts.picked: ",".join(search.matching(page.store, view.query))}
            return {parts.picked: values[parts.picked], **_drawn(page, parts, values)}
        case "clear":
            return {parts.picked: ""}
        case "delete":
            removal.delete(page.home, page.store, view.selected)
            rest = page.store.latest_run() or {"id": ""}
            shown = {page.run: rest["id"]} if page.store.run(values.get(page.run) or "") is None else {}
            return {parts.picked: "", **shown}
        case _:
            raise StudioError("'{what}' is nothing that can be done with a run.", what=act)


def annotate(page: Page, run_ids: list[str], name: str, tags: str) -> None:
    """Name one run and set its tags, or add the tags to each of several runs. tags: separated by commas."""
    new = [tag for tag in (tags or "").split(",") if tag.strip()]
    runs = [run for run_id in run_ids if (run := page.store.run(run_id))]
    if len(runs) == 1:
        page.store.change_run(runs[0]["id"], good_name(name or ""), good_tags(new))
        return
    for run, all_tags in [(run, good_tags([*run["tags"], *new])) for run in runs]:
        page.store.change_run(run["id"], run["name"], all_tags)

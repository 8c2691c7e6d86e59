"""A comparison of runs as HTML: the list to choose from, the table of what differs, the means over seeds."""

from __future__ import annotations

import time
from typing import NamedTuple

from studio.forecast import duration
from studio.library.comparison import Metric
from studio.runs.comparison import SECONDS, TRAINING_LOSS, Comparison, Group, is_share
from studio.runs.search import Query
from studio.ui.html_parts import button, e, note, number
from studio.ui.library_compare import metric_text, option_title
from studio.ui.library_view import metric_title
from studio.ui.page import Page
from studio.ui.run_curves import plotted
from studio.ui.run_status import state_chip

COLOURS = 8  # --run-0 … --run-7 of runs.css
PAGE = 10  # runs listed at a time


class View(NamedTuple):
    """The values of the controls. at: number of the page of the list, from 0. picked: ids, separated by commas."""

    words: str | None = ""
    tag: str | None = ""
    method: str | None = ""
    state: str | None = ""
    at: str | None = "0"
    picked: str | None = ""

    @property
    def query(self) -> Query:
        return Query(self.words or "", self.tag or "", self.method or "", self.state or "")

    @property
    def selected(self) -> list[str]:
        return [run for run in (self.picked or "").split(",") if run]

    @property
    def page_number(self) -> int:
        return int(self.at) if (self.at or "").isdigit() else 0


def picked_after(view: View, checked: list[str], listed: list[str]) -> str:
    """Return `View.picked` after the boxes of the runs `listed` stand as in `checked`; runs not listed stay picked."""
    kept = [run for run in view.selected if run not in listed or run in checked]
    return ",".join([*kept, *(run for run in checked if run not in kept)])


def listing_html(page: Page, view: View, found: list[str]) -> str:
    """Return one page of the runs `found` with a box for each, and the buttons for those that are picked."""
    if not found and view.query == Query():
        return note(page.t("No runs yet: once two are here, their curves, recipes and results can be compared."))
    if not found:
        return note(page.t("No run fits these words and filters; search for less.")) + _bar(page, view, found)
    last = (len(found) - 1) // PAGE
    at = min(view.page_number, last)
    rows = [run for run_id in found[at * PAGE : (at + 1) * PAGE] if (run := page.store.run(run_id))]
    picked = set(view.selected)
    items = "".join(_item(page, run, run["id"] in picked) for run in rows)
    turning = ""
    if last:
        turning = (
            f'<p class="actions">{_turn(page, page.t("Previous page"), at - 1, at > 0)}'
            f'<span class="help">{at + 1} / {last + 1}</span>{_turn(page, page.t("Next page"), at + 1, at < last)}</p>'
        )
    return f'{_bar(page, view, found)}<ul class="runs compared-list">{items}</ul>{turning}'


def _turn(page: Page, text: str, to: int, can: bool) -> str:
    return button(text, "page", str(to), disabled="" if can else page.t("There are no more runs on this side."))


def _bar(page: Page, view: View, found: list[str]) -> str:
    """Return what can be done with the picked runs."""
    count = len(view.selected)
    every = button(page.t("Select all {count} found", count=len(found)), "pick-all") if found else ""
    if not count:
        text = page.t("Select two or more runs by their boxes to compare them, one to rename or tag it.")
        return f'<div class="selection"><span class="help">{e(text)}</span>{every}</div>'
    text = page.t("{count} {count:run|runs} selected", count=count)
    question = page.t(
        "Delete {count} {count:run|runs} with {count:its|their} curves, logs and checkpoints? This cannot be undone. "
        "Adapters in the library stay.",
        count=count,
    )
    return (
        f'<div class="selection chosen" role="status"><strong>{e(text)}</strong><span class="buttons">{every}'
        f"{button(page.t('Clear the selection'), 'clear')}"
        f"{button(page.t('Delete the selected'), 'delete', kind='danger', confirm=question)}</span></div>"
    )


def _item(page: Page, run: dict, picked: bool) -> str:
    tags = "".join(
        f'<button type="button" class="chip tag" data-act="tag" data-item="{e(tag)}" '
        f'title="{e(page.t("Show the runs with this tag"))}">#{e(tag)}</button>'
        for tag in run["tags"]
    )
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"]))
    says = page.t("Select {name}", name=run["name"])
    return (
        f'<li><input type="checkbox" data-pick="{e(run["id"])}" aria-label="{e(says)}"{" checked" if picked else ""}>'
        f'<button type="button" class="link" data-act="show" data-item="{e(run["id"])}" '
        f'title="{e(page.t("Show this run above"))}">{e(run["name"])}</button>'
        f'<span class="chips">{state_chip(page, run["state"])}{tags}</span><span class="when">{e(when)}</span></li>'
    )


# ---- the comparison -------------------------------------------------------------------------------------------------


def result_title(page: Page, key: str) -> str:
    """Return the title of a key of `studio.runs.comparison.RESULTS`."""
    if key == TRAINING_LOSS:
        return page.t("Training loss, last step")
    return page.t("Time") if key == SECONDS else metric_title(page, key)


def colours(found: Comparison) -> dict[str, int]:
    """Return run → number of its colour: by rank, one for all runs of a group."""
    together = [group.runs for group in found.groups] or [(run["id"],) for run in found.runs]
    return {run_id: at for at, runs in enumerate(together) for run_id in runs}


def plot_value(page: Page, found: Comparison) -> str:
    """Return the value of `RunCurves` for the comparison."""
    colour = colours(found)
    runs = [(run["id"], name, colour[run["id"]]) for run, name in zip(found.runs, found.names, strict=True)]
    groups = [(group_name(page, found, group), list(group.runs)) for group in found.groups if len(group.runs) > 1]
    return plotted(runs, groups)


def comparison_html(page: Page, found: Comparison) -> str:
    """Return the means over seeds, if there are any, and the table of the runs."""
    return f"{_means_html(page, found)}{_runs_html(page, found)}"


def group_name(page: Page, found: Comparison, group: Group) -> str:
    """Return what tells the group apart: the values of the options that differ, or else the name of its first run."""
    values = [
        f"{option_title(page, *key).partition(' (')[0]} {_plain(value)}"
        for key, value in group.recipe.items()
        if value is not None
    ]
    first = next(run["name"] for run in found.runs if run["id"] == group.runs[0])
    return ", ".join(values[:4]) + (" …" if len(values) > 4 else "") if values else first


def _means_html(page: Page, found: Comparison) -> str:
    if not any(len(group.runs) > 1 for group in found.groups):
        return ""
    colour = colours(found)
    heads = [page.t("Recipe"), page.t("Runs"), *(result_title(page, key) for key in _ordered(found))]
    rows = [
        [
            f"{_swatch(colour[group.runs[0]])}{e(group_name(page, found, group))}",
            str(len(group.runs)),
            *(e(_mean_text(page, key, group)) for key in _ordered(found)),
        ]
        for group in found.groups
    ]
    help_text = page.t(
        "Mean of the runs that differ only in their seed; in brackets the 95 % interval of the mean by Student's t. "
        "With two seeds it is wide; where intervals overlap much, the difference may be chance."
    )
    return f"<h4>{e(page.t('Means over seeds'))}</h4>{_table(heads, rows)}<p class='help'>{e(help_text)}</p>"


def _runs_html(page: Page, found: Comparison) -> str:
    options = [option_title(page, part, key) for part, key in found.recipe]
    heads = [page.t("Rank"), page.t("Run"), *(result_title(page, key) for key in _ordered(found)), *options]
    colour = colours(found)
    rows = []
    for at, (run, name, rank) in enumerate(zip(found.runs, found.names, found.ranks, strict=True)):
        state = "" if run["state"] == "done" else f" {state_chip(page, run['state'])}"
        cells = [
            "–" if rank is None else str(rank),
            f"{_swatch(colour[run['id']])}{e(name)}{state}",
            *(e(_result_text(page, key, found.results[key][at])) for key in _ordered(found)),
            *(e(_plain(values[at])) for values in found.recipe.values()),
        ]
        rows.append(cells)
    same = "" if found.recipe else f'<p class="help">{e(page.t("Their recipes are the same."))}</p>'
    title = page.t("Results, and what differs in the recipes")
    return f"<h4>{e(title)}</h4>{_table(heads, rows)}{same}"


def _ordered(found: Comparison) -> list[str]:
    """The results, the one that is ranked by first."""
    return sorted(found.results, key=lambda key: key != found.by)


def _result_text(page: Page, key: str, metric: Metric) -> str:
    if key == SECONDS:
        return "–" if metric.value is None else page.say(duration(metric.value))
    return metric_text(metric, is_share(key))


def _mean_text(page: Page, key: str, group: Group) -> str:
    mean = group.means.get(key)
    if mean is None:
        return "–"
    if key == SECONDS:
        return page.say(duration(mean.value))
    text = metric_text(Metric(mean.value, mean.interval, None), is_share(key))
    total = len(group.runs)
    return (
        text
        if mean.count == total
        else page.t("{value}, {count} of {total}", value=text, count=mean.count, total=total)
    )


def _plain(value) -> str:
    return "–" if value is None else number(value, 4) if isinstance(value, float) else str(value)


def _swatch(colour: int) -> str:
    return f'<i class="swatch" style="--colour:var(--run-{colour % COLOURS})" aria-hidden="true"></i>'


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A table whose cells are HTML; the second cell of a row, the name of a run, is its heading where there is one."""
    head = "".join(f'<th scope="col">{e(title)}</th>' for title in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows)
    return (
        f'<div class="scroll" tabindex="0"><table class="plain compared-runs"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )

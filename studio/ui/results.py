"""Results of a run on the validation set: scores with their intervals, and a searchable table of all answers.

Part of the Train tab, built from the run's result and its predictions file; computes no metrics itself.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from studio.evaluation import predictions
from studio.evaluation.predictions import FILE, MACRO_F1, ORDERS, SCORES, Prediction, Score
from studio.ui.downloads import fresh_folder
from studio.ui.html_parts import Board, button, e, folded, note, number
from studio.ui.page import Page

_PAGE = 10  # rows shown at a time


def build(page: Page, changed: gr.Textbox):
    """Create the components; return a function that binds their event handlers.

    `changed` is a textbox whose value changes whenever a run begins, ends or is changed.
    """
    with gr.Accordion(page.t("Results on the validation set"), open=True):
        figures = gr.HTML(elem_id="figures", apply_default_css=False)
        with gr.Row(equal_height=True, visible=False) as controls:
            search = gr.Textbox(
                label=page.t("Search"),
                placeholder=page.t("words in question or answers"),
                scale=3,
                min_width=180,
                elem_id="results-search",
            )
            order = gr.Dropdown(
                [(page.say(title), key) for key, title in ORDERS.items()],
                value="worst",
                label=page.t("Order"),
                scale=1,
                min_width=160,
                elem_id="results-order",
            )
            download = gr.DownloadButton(page.t("Download CSV"), scale=1, min_width=140, elem_id="results-csv")
        table = Board(elem_id="results")
    seen = gr.Textbox(visible="hidden", label=page.t("State"))

    def bind():
        def look(run_id, words, by, before):
            """Redraw everything if the results of the run differ from those shown."""
            now = _stamp(page, run_id)
            if now == before:
                return [gr.skip()] * 5
            rows = _rows(page, run_id)
            run = page.store.run(run_id) if run_id else None
            measured = (run["result"] or {}).get("metrics", {}) if run else {}
            return [
                now,
                figures_html(page, measured),
                gr.Row(visible=bool(rows)),
                gr.update(value=_csv(page, run_id, rows)),
                table_html(page, rows, by, words),
            ]

        def arrange(run_id, words, by):
            return table_html(page, _rows(page, run_id), by, words)

        def turn(run_id, words, by, event: gr.EventData):
            return table_html(page, _rows(page, run_id), by, words, int(event.item))

        for event in (page.run.change, changed.change):
            page.on(
                event,
                look,
                [page.run, search, order, seen],
                [seen, figures, controls, download, table],
                shows="answers",
            )
        page.on(search.change, arrange, [page.run, search, order], table, shows="answers")
        page.on(order.change, arrange, [page.run, search, order], table, shows="answers")
        page.on(table.click, turn, [page.run, search, order], table, shows="answers")

    return bind


def _stamp(page: Page, run_id: str) -> str:
    """Return a string that changes with the run, its state and its predictions file."""
    run = page.store.run(run_id) if run_id else None
    path = page.home.run(run_id) / FILE if run else Path()
    return f"{run_id}:{run['state']}:{path.stat().st_mtime_ns if path.is_file() else 0}" if run else ":"


def _rows(page: Page, run_id: str) -> list[Prediction]:
    return predictions.read(page.home.run(run_id)) if run_id and page.store.run(run_id) else []


def _csv(page: Page, run_id: str, rows: list[Prediction]) -> str | None:
    """Write the rows to a CSV file for download; return its path, or None without rows."""
    if not rows:
        return None
    path = fresh_folder(page.home) / f"results-{run_id}.csv"
    path.write_text(predictions.as_csv(rows), encoding="utf-8-sig", errors="replace")
    return str(path)


def figures_html(page: Page, metrics: dict) -> str:
    """Return a table of the scores of base and fine-tuned model and their gain, each with its 95 % interval."""
    lines = [
        _figure(page, name, score, metrics)
        for name, score in {**SCORES, "macro_f1": MACRO_F1}.items()
        if metrics.get(name) is not None
    ]
    for name, title in (("eval_loss", "Validation loss"), ("perplexity", "Perplexity")):
        if metrics.get(name) is not None:
            values = [number(metrics.get(f"base_{name}")), number(metrics[name]), ""]
            lines.append(_line(page, page.t(title), "", values))
    if not lines:
        return note(
            page.t(
                "Once a run has ended, its figures and every answer to the validation rows appear here, beside "
                "those of the base model."
            )
        )
    titles = [page.t("Figure"), page.t("Base model"), page.t("Fine-tuned"), page.t("Gain")]
    heads = "".join(
        f'<th scope="col" class="{"number" if at else ""}">{e(title)}</th>' for at, title in enumerate(titles)
    )
    about = page.t(
        "In brackets: the range in which the figure would lie in 95 of 100 measurements with as many other rows "
        "of the same kind."
    )
    return (
        f'<div class="scroll"><table class="plain results figures"><thead><tr>{heads}</tr></thead><tbody>'
        f'{"".join(lines)}</tbody></table></div><p class="help">{e(about)}</p>'
    )


def _figure(page: Page, name: str, score: Score, metrics: dict) -> str:
    found = (metrics.get("intervals") or {}).get(name, {})
    base, fine_tuned = metrics.get(f"base_{name}"), metrics[name]
    gain = fine_tuned - base if base is not None else None
    values = [
        _ranged(page, value, found.get(who), score, sign)
        for value, who, sign in ((base, "base", False), (fine_tuned, "fine_tuned", False), (gain, "difference", True))
    ]
    return _line(page, page.say(score.title), page.say(score.help), values)


def _line(page: Page, title: str, help: str, values: list[str]) -> str:
    heads = (page.t("Base model"), page.t("Fine-tuned"), page.t("Gain"))
    cells = "".join(
        f'<td class="number" data-label="{e(head)}">{value}</td>' for head, value in zip(heads, values, strict=True)
    )
    return f'<tr><th scope="row" title="{e(help)}">{e(title)}</th>{cells}</tr>'


def _ranged(page: Page, value: float | None, interval: tuple[float, float] | None, score: Score, sign: bool) -> str:
    if value is None:
        return "–"
    brackets = (
        f' <span class="interval">({_bare(interval[0], score, sign)} – {_bare(interval[1], score, sign)})</span>'
        if interval
        else ""
    )
    unit = "" if not score.share else " " + page.t("points") if sign else " %"
    return f"<strong>{_bare(value, score, sign)}{unit}</strong>{brackets}"


def _with_unit(value: float, score: Score) -> str:
    """Format a score with its unit."""
    return _bare(value, score, False) + (" %" if score.share else "")


def _bare(value: float, score: Score, sign: bool) -> str:
    """Format a score without its unit; shares as percentages."""
    form = "+" if sign else ""
    text = f"{100 * value:{form}.0f}" if score.share else f"{value:{form}.3g}"
    return text.replace("-", "−")


def ranged(value: float, interval: tuple[float, float] | None) -> str:
    """Format a share and its interval as plain text: "91% (83–96)"."""
    return f"{value:.0%}" + (f" ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})" if interval else "")


def table_html(page: Page, rows: list[Prediction], order: str, search: str, at: int = 0) -> str:
    """Return one page of the answers. `at`: zero-based page number."""
    if not rows:
        return ""
    found = predictions.sort_rows(rows, order if order in ORDERS else "worst", search or "")
    last = max(0, (len(found) - 1) // _PAGE)
    at = min(max(at, 0), last)
    names = [name for name in SCORES if name in rows[0].scores]
    worse = any(row.rejected for row in rows)
    titles = [
        page.t("Question"),
        page.t("Better answer") if worse else page.t("Expected answer"),
        *([page.t("Worse answer")] if worse else []),
        page.t("Base model"),
        page.t("Fine-tuned"),
        *(page.say(SCORES[name].title) for name in names),
    ]
    body = "".join(_row(page, row, titles, names, worse) for row in found[at * _PAGE : (at + 1) * _PAGE])
    head = "".join(f'<th scope="col">{e(title)}</th>' for title in titles)
    if not found:
        return note(page.t("No answer holds these words; search for less."))
    return (
        f'<div class="scroll" tabindex="0"><table class="plain results"><thead><tr>{head}</tr></thead><tbody>{body}'
        f"</tbody></table></div>{_turning(page, at, last, len(found))}"
    )


def _row(page: Page, row: Prediction, titles: list[str], names: list[str], worse: bool) -> str:
    texts = [row.prompt, row.expected, *([row.rejected] if worse else []), row.base, row.fine_tuned]
    cells = [folded(text) for text in texts]
    if not worse:
        cells[-2:] = [
            f'<div class="{"right" if row.scores.get("exact_match", (0, 0))[place] else ""}">{cell}</div>'
            for place, cell in enumerate(cells[-2:])
        ]
    cells += [
        (f'<span class="nowrap">{" → ".join(_with_unit(value, SCORES[name]) for value in row.scores[name])}</span>')
        for name in names
    ]
    return (
        "<tr>"
        + "".join(f'<td data-label="{e(title)}">{cell}</td>' for title, cell in zip(titles, cells, strict=True))
        + "</tr>"
    )


def _turning(page: Page, at: int, last: int, count: int) -> str:
    message = page.t(
        "Rows {first} to {last} of {count}", first=at * _PAGE + 1, last=min(count, (at + 1) * _PAGE), count=count
    )
    back = button(
        page.t("Previous page"), "page", str(at - 1), disabled="" if at else page.t("This is the first page.")
    )
    on = button(
        page.t("Next page"), "page", str(at + 1), disabled="" if at < last else page.t("This is the last page.")
    )
    return f'<p class="actions">{back if last else ""}<span class="help">{e(message)}</span>{on if last else ""}</p>'

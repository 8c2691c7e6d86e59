"""Panel of the Library tab that lays adapters side by side: recipes, metrics, loss curves, norms of the weights."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from studio.evaluation.predictions import SCORES
from studio.library.comparison import Comparison, as_csv, compare, layers, other_parts
from studio.library.search import LOSS
from studio.methods import METHODS
from studio.recipe import Recipe
from studio.tasks import TASKS
from studio.ui.downloads import TAKE, fresh_folder
from studio.ui.html_parts import e, number
from studio.ui.library_panel import Opened
from studio.ui.library_view import metric_title
from studio.ui.page import Page
from studio.ui.svg_chart import line_chart
from studio.words import StudioError

NAME = "compare"
TITLE = "Compare"
MINIMUM, MAXIMUM = 2, 6
_CURVES = {"loss": "Training loss", "eval_loss": "Validation loss"}


def build(page: Page):
    """Create the panel, hidden; return a function that binds its event handlers."""
    with gr.Column(visible=False, elem_id="library-compare") as panel:
        table = gr.HTML(elem_id="compared-adapters", apply_default_css=False)
        with gr.Row():
            download = gr.Button(page.t("Download CSV"), elem_id="compare-csv")
            close = gr.Button(page.t("Close"), elem_id="close-compare")
        file = gr.DownloadButton("csv", visible="hidden", elem_id="compare-file")
    opened = page.parts["library-opened"]

    def bind():
        def show(text: str) -> list:
            now = Opened.parse(text)
            if now.panel != NAME:
                return [gr.Column(visible=False), gr.skip()]
            return [gr.Column(visible=True), comparison_html(page, _compared(page, now.adapters))]

        def take(text: str):
            path = fresh_folder(page.home) / "comparison.csv"
            path.write_text(
                as_csv(_compared(page, Opened.parse(text).adapters)), encoding="utf-8-sig", errors="replace"
            )
            return gr.update(value=str(path))

        page.on(opened.change, show, opened, [panel, table], changes=True)
        page.on(download.click, take, opened, file, changes=True).then(None, file, None, js=TAKE)
        page.on(close.click, lambda: "", None, opened, changes=True)

    return bind


def _compared(page: Page, adapters: tuple[str, ...]) -> Comparison:
    rows = [row for adapter in adapters if (row := page.store.adapter(adapter)) and row["deleted"] is None]
    if len(rows) < MINIMUM:
        raise StudioError("Fewer than two of these adapters are in the library now; select others.")
    return compare(page.home, page.store, rows[:MAXIMUM])


def comparison_html(page: Page, found: Comparison) -> str:
    """Return the comparison: metrics, differences of the recipes, curves and weight norms."""
    return (
        f"<h3>{e(page.t('Comparison of {count} adapters', count=len(found.names)))}</h3>"
        f"{_metrics_html(page, found)}{_recipe_html(page, found)}{_curves_html(page, found)}{_norms_html(page, found)}"
    )


def _metrics_html(page: Page, found: Comparison) -> str:
    title = page.t("Metrics on their validation rows, with 95 % intervals")
    if not found.metrics:
        return _part(title, f'<p class="help">{e(page.t("None of them was measured."))}</p>')
    rows = []
    for key, values in found.metrics.items():
        share = key != LOSS and getattr(SCORES.get(key), "share", True)
        known = [each.value for each in values if each.value is not None]
        best = (min if key == LOSS else max)(known) if len(known) > 1 else None
        cells = [(metric_text(each, share), best is not None and each.value == best) for each in values]
        rows.append((metric_title(page, key), cells))
    return _part(title, _table(page, found, rows))


def metric_text(metric, share: bool) -> str:
    """A metric with its interval and, before it, the base model's: "0% → 91% (83–96)"."""
    if metric.value is None:
        return "–"
    value = f"{metric.value:.0%}" if share else number(metric.value)
    before = "" if metric.base is None else f"{metric.base:.0%} → " if share else f"{number(metric.base)} → "
    if metric.interval and share:
        value += f" ({100 * metric.interval[0]:.0f}–{100 * metric.interval[1]:.0f})"
    elif metric.interval:
        value += f" ({number(metric.interval[0])}–{number(metric.interval[1])})"
    return before + value


def _recipe_html(page: Page, found: Comparison) -> str:
    title = page.t("What differs in their recipes")
    if not found.recipe:
        return _part(title, f'<p class="help">{e(page.t("Nothing: the recipes are the same."))}</p>')
    rows = [
        (option_title(page, part, key), [("–" if value is None else str(value), False) for value in values])
        for (part, key), values in found.recipe.items()
    ]
    return _part(title, _table(page, found, rows))


def option_title(page: Page, part: str, key: str) -> str:
    """The title of an option that a recipe holds, with its key, which the YAML file has."""
    classes = {"method": METHODS.values(), "task": TASKS.values()}.get(part)
    if classes is None:
        field = Recipe.model_fields.get(part)
        factory = field.default_factory if field else None
        classes = [factory] if isinstance(factory, type) else []
    nothing = SimpleNamespace(title=None)
    title = next((t for cls in classes if (t := cls.model_fields.get(key, nothing).title)), None)
    return f"{page.t(title)} ({part}.{key})" if title else f"{part}.{key}".strip(".")


def _curves_html(page: Page, found: Comparison) -> str:
    charts = "".join(
        line_chart(page.t(title), dict(zip(found.names, found.curves[key], strict=True)), x_title=page.t("step"))
        for key, title in _CURVES.items()
    )
    empty = f'<p class="help">{e(page.t("No curves: their runs are not known here."))}</p>'
    return _part(page.t("Loss curves"), f'<div class="charts">{charts}</div>' if charts else empty)


def _norms_html(page: Page, found: Comparison) -> str:
    known = [each for each in found.norms if each]
    if not known:
        return ""
    help_text = (
        page.t("Frobenius norm of the change of the weights, ΔW, in each layer: how far the adapter moves the model.")
        if all(each.effective for each in known)
        else page.t(
            "Frobenius norm in each layer: for LoRA of the change of the weights, ΔW, for other types of the stored "
            "tensors, so that only adapters of one type can be compared."
        )
    )
    series = {
        name: sorted(each.layers.items())
        for name, each in zip(found.names, found.norms, strict=True)
        if each is not None
    }
    rows = [
        *(
            (page.t("Layer {number}", number=at), [each and each.layers.get(at) for each in found.norms])
            for at in layers(found.norms)
        ),
        *((part, [each and each.other.get(part) for each in found.norms]) for part in other_parts(found.norms)),
    ]
    table = _table(page, found, [(title, [(number(value), False) for value in values]) for title, values in rows])
    chart = line_chart(page.t("Norm per layer"), series, x_title=page.t("layer"))
    inside = (
        f'<p class="help">{e(help_text)}</p><div class="charts">{chart}</div>'
        f"<details><summary>{e(page.t('As a table'))}</summary>{table}</details>"
    )
    return _part(page.t("Norms of the weights"), inside)


def _part(title: str, inside: str) -> str:
    return f"<section><h4>{e(title)}</h4>{inside}</section>"


def _table(page: Page, found: Comparison, rows: list[tuple[str, list[tuple[str, bool]]]]) -> str:
    """A table with a column for each adapter. rows: (title, (text, whether it is the best) of each adapter)."""
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in found.names)
    body = "".join(
        f'<tr><th scope="row">{e(title)}</th>'
        + "".join(
            f'<td class="{"best" if best else ""}" data-label="{e(name)}">{e(text)}</td>'
            for name, (text, best) in zip(found.names, cells, strict=True)
        )
        + "</tr>"
        for title, cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="plain compared"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )

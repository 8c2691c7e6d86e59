"""A run as one self-contained HTML file: summary, curves, scores with intervals, answers, recipe and hardware.

It loads no external resources and contains no script. Local paths are reduced to file names.
"""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path

import yaml

from studio import __version__, hardware
from studio.evaluation import predictions
from studio.forecast import duration, sentence
from studio.library.card import public
from studio.recipe import recipe_from
from studio.ui.classes import baseline_sentence, matrices_html
from studio.ui.downloads import fresh_folder
from studio.ui.html_parts import e, facts, number, size
from studio.ui.live_plot import CHARTS, units
from studio.ui.page import Page
from studio.ui.results import figures_html, table_html
from studio.ui.run_status import state_title
from studio.ui.svg_chart import line_chart
from studio.words import StudioError

_LIBRARIES = ("torch", "transformers", "peft")
_STYLE = """
:root { color-scheme: light dark; --text: #17212b; --soft: #5a6772; --line: #dde3e8; --back: #ffffff; \
--accent: #0e776d; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9aa8b3; --line: #2a353e; --back: #12181d; \
--accent: #43b2a5; } }
body { max-width: 1120px; margin: 0 auto; padding: 24px 16px; background: var(--back); color: var(--text); \
font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { margin: 0 0 4px; font-size: 1.5rem; } h2 { margin: 32px 0 10px; font-size: 1.15rem; }
.sentence { padding: 12px 16px; border-left: 4px solid var(--accent); \
background: color-mix(in srgb, var(--accent) 8%, var(--back)); border-radius: 8px; font-size: 1.05rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 8px 16px; \
margin: 12px 0; } dt { font-size: 0.75rem; color: var(--soft); } dd { margin: 0; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 16px; } \
figure { margin: 0; } figcaption { font-size: 0.875rem; }
.chart svg { width: 100%; height: auto; } \
.chart text { font: 11px system-ui, sans-serif; fill: var(--soft); text-anchor: middle; } \
.chart text.end { text-anchor: end; } .axes line { stroke: var(--line); }
.curve { fill: none; stroke-width: 1.6; } .curve.c0 { stroke: #0072b2; } .curve.c1 { stroke: #d55e00; } \
.curve.c2 { stroke: #009e73; }
.legend span { margin-left: 12px; color: var(--soft); } \
.legend i { display: inline-block; width: 14px; height: 3px; margin-right: 5px; vertical-align: middle; } \
i.c0 { background: #0072b2; } i.c1 { background: #d55e00; } i.c2 { background: #009e73; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.875rem; } \
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; } \
.number { text-align: right; } .interval, .help, footer { color: var(--soft); font-size: 0.875rem; } \
.actions, .turning, button, .hidden { display: none; }
.matrix td { text-align: center; } \
pre { padding: 12px; border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; font-size: 0.8125rem; } \
.bad { color: #d55e00; }
"""


def write_report(page: Page, run_id: str) -> Path:
    """Write the report to a file for download and return its path.

    Raises `StudioError` for an unknown run.
    """
    text = report_html(page, run_id)
    path = fresh_folder(page.home) / f"report-{run_id}.html"
    path.write_text(text, encoding="utf-8", errors="replace")
    return path


def report_html(page: Page, run_id: str) -> str:
    """Return the whole document in the page's language. Raises `StudioError` for an unknown run."""
    run = page.store.run(run_id) if run_id else None
    if run is None:
        raise StudioError("There is no run to report on yet: start one first.")
    plans = page.store.events(run_id, kind="plan", limit=1)
    plan = plans[-1]["data"] if plans else {}
    metrics = (run["result"] or {}).get("metrics", {})
    parts = [
        _heading(page, run, plan),
        _curves(page, run),
        _part(
            page.t("Figures"),
            figures_html(page, metrics) if metrics else f'<p class="help">{e(page.t("This run has no figures."))}</p>',
        ),
    ]
    if "classes" in metrics:
        text = f'<p class="help">{e(baseline_sentence(page, metrics))}</p>'
        parts.append(_part(page.t("Classes"), text + matrices_html(page, metrics["classes"])))
    if rows := predictions.read(page.home.run(run_id)):
        parts.append(_part(page.t("Answers to validation rows, the worst first"), table_html(page, rows, "worst", "")))
    recipe = yaml.safe_dump(public(run["recipe"]), sort_keys=False, allow_unicode=True)
    parts.append(_part(page.t("Recipe"), f"<details><summary>YAML</summary><pre>{e(recipe)}</pre></details>"))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="{e(page.language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{e(run["name"])} · Delta Studio</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}<footer>{e(_made_with(page))}</footer></body></html>"
    )


def _part(title: str, inside: str) -> str:
    return f"<section><h2>{e(title)}</h2>{inside}</section>"


def _heading(page: Page, run: dict, plan: dict) -> str:
    here = hardware.machine()
    try:
        text = page.say(sentence(recipe_from(run["recipe"]), plan.get("examples"), None, here))
    except StudioError as error:  # a recipe of an earlier version that is no longer valid
        text = page.say(error.sentence)
    pieces = e(text.rstrip(" …:")).split("**")
    emphasised = "".join(f"<b>{piece}</b>" if at % 2 else piece for at, piece in enumerate(pieces))
    seconds = (run["ended"] or time.time()) - run["started"] if run["started"] else None
    pairs = [
        (page.t("State"), state_title(page, run["state"])),
        (page.t("Started"), time.strftime("%Y-%m-%d %H:%M", time.localtime(run["started"])) if run["started"] else "–"),
        (page.t("Time"), page.say(duration(seconds)) if seconds is not None else "–"),
        (page.t("Steps"), f"{run['step'] or 0:,} / {plan['steps']:,}" if plan.get("steps") else "–"),
        (page.t("Training examples"), f"{plan['examples']:,}" if "examples" in plan else "–"),
        (page.t("Validation rows"), f"{plan['validation']:,}" if "validation" in plan else "–"),
        (page.t("Trainable parameters"), number(plan.get("trainable_parameters"))),
        (page.t("Parameters"), number(plan.get("parameters"))),
        (
            page.t("Device"),
            f"{run['device']} · {page.say(here.title(run['device'] if here.gpu(run['device']) else 'cpu'))}",
        ),
        (page.t("Peak memory"), size(_peak(page, run["id"]))),
    ]
    reason = f'<p class="bad">{e(page.say(run["reason"]))}</p>' if run["reason"] else ""
    return f'<h1>{e(run["name"])}</h1><p class="sentence">{emphasised}</p>{reason}{facts(pairs)}'


def _peak(page: Page, run_id: str) -> float | None:
    found = [
        row["values"]["memory_allocated"] for row in page.store.metrics(run_id) if "memory_allocated" in row["values"]
    ]
    return max(found, default=None)


def _curves(page: Page, run: dict) -> str:
    """Return those charts of the Train tab that have at least one point."""
    rows, own = page.store.metrics(run["id"]), units(run["recipe"])
    drawn = []
    for chart in CHARTS:
        scale = chart.get("scale", 1)
        series = {
            page.t(name): [
                (row["step"], row["values"][key] * scale) for row in rows if row["values"].get(key) is not None
            ]
            for key, name in chart["series"].items()
        }
        unit = page.say(own[chart["key"]]) if chart["key"] in own else page.t(chart["unit"]) if "unit" in chart else ""
        drawn.append(line_chart(page.t(chart["title"]), series, unit, page.t("step")))
    inside = "".join(drawn)
    empty = f'<p class="help">{e(page.t("This run has no curves yet."))}</p>'
    return _part(page.t("Curves"), f'<div class="charts">{inside}</div>' if inside else empty)


def _made_with(page: Page) -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    return page.t("Made with Delta Studio {version} · {libraries}", version=__version__, libraries=" · ".join(versions))

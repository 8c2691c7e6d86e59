"""The report of a run is one file that loads nothing, holds what the store holds, and takes hostile names for text."""

import re
import time
from html.parser import HTMLParser

import gradio as gr
import pytest

from studio.draft import DraftEditor
from studio.evaluation.predictions import Prediction, write
from studio.home import Home
from studio.recipe import recipe_from
from studio.store import Store
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.run_report import report_html, write_report
from studio.ui.svg_chart import line_chart, thinned
from studio.words import Sentence, StudioError
from tests.training.runs import Runs

HOSTILE = '<script>alert(1)</script> "name" & more'


class Reader(HTMLParser):
    """The tags of a document, what it would load, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.loads, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "data", "action")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    home = Home(tmp_path / "home")
    store = Store(home.database)
    with gr.Blocks() as demo:
        return Page(demo, "en", DraftEditor(home, store), Feed(store))


def run_of(page, **values) -> str:
    recipe = recipe_from({"data": {"source": "/home/somebody/secret place/rows.jsonl"}, **values}).to_dict()
    run_id, job_id = page.store.create_run(HOSTILE, recipe, "cpu")
    page.store.job_started(job_id, 1, 1.0)
    return run_id


@pytest.mark.slow
def test_a_real_run_is_reported_with_the_stores_figures(page):
    runs = Runs(page.home.root)
    run_id = runs.start("lora", evaluation_rows=4)
    found = Reader(report_html(page, run_id))
    metrics = page.store.run(run_id)["result"]["metrics"]
    assert not {"script", "link", "img", "iframe"} & set(found.tags) and found.loads == []
    assert f"{metrics['eval_loss']:.3g}" in found.text and f"{metrics['base_eval_loss']:.3g}" in found.text
    assert found.tags.count("svg") >= 4 and "Validation loss" in found.text and "Exact match" in found.text
    assert "gradient_accumulation_steps: 1" in found.text
    path = write_report(page, run_id)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>") and path.parent.parent == page.home.exports


def test_failed_and_running_runs_say_what_is_missing(page):
    run_id = run_of(page)
    assert "This run has no curves yet." in Reader(report_html(page, run_id)).text
    page.store.job_ended(page.store.run(run_id)["job_id"], "failed", Sentence("The disk is full.").to_json())
    text = Reader(report_html(page, run_id)).text
    assert "The disk is full." in text and "Failed" in text and "This run has no figures." in text
    with pytest.raises(StudioError):
        report_html(page, "no-such-run")


def test_hostile_names_are_text_and_paths_stay_at_home(page):
    run_id = run_of(page)
    page.home.run(run_id).mkdir(parents=True)
    write(page.home.run(run_id), [Prediction(HOSTILE, HOSTILE, HOSTILE, HOSTILE, {"exact_match": (0.0, 1.0)})])
    text = report_html(page, run_id)
    assert "<script" not in text and HOSTILE in Reader(text).text
    assert "secret place" not in text and "rows.jsonl" in text


def test_a_long_run_makes_a_small_report_soon(page):
    run_id = run_of(page)
    with page.store.transaction():
        for step in range(100_000):
            page.store.add_metrics(
                run_id, step, {"loss": 1 + step % 7, "gradient_norm": 0.5, "tokens_per_second": 900.0}
            )
    began = time.monotonic()
    text = report_html(page, run_id)
    assert len(text) < 500_000 and time.monotonic() - began < 20


def test_thinning_keeps_extremes_and_the_axis_fits_the_range():
    points = [(float(step), 1.0) for step in range(10_000)]
    points[5_000], points[7_000] = (5_000.0, 99.0), (7_000.0, -3.0)
    kept = thinned(points)
    assert len(kept) < 500 and points[5_000] in kept and points[7_000] in kept and kept == sorted(kept)
    decades = re.findall(r'<text class="end"[^>]*>([^<]*)<', line_chart("Loss", {"training": [(1, 9.0), (2, 0.01)]}))
    assert decades == ["0.01", "0.1", "1", "10"]
    assert line_chart("Loss", {"training": [(1, float("nan"))]}) == ""

"""What the search panel draws of a search, and what it says before one is started."""

import gradio as gr
import pytest

from studio.draft import DraftEditor
from studio.jobs import client
from studio.search.overview import overview
from studio.ui import search_panel
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.search_view import search_html
from tests.search.test_driver import begun, drive, worker

NAME = "training__learning_rate"


@pytest.fixture
def page(home, store, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    return Page(None, "en", DraftEditor(home, store), Feed(store))


@pytest.fixture
def parts(page):
    with gr.Blocks():
        return search_panel._components(page)


def test_options_and_ranges_follow_the_draft_and_a_bad_one_is_said(page, parts):
    options, ranges, metric, planned, start = search_panel.setup_updates(
        page, parts, "rank_rate", [], {}, None, 12, 30, "halving"
    )
    assert options["value"] == ["training.learning_rate", "method.rank"] and start["interactive"]
    assert [field["key"] for field in ranges["value"]["fields"]][:2] == [f"{NAME}__low", f"{NAME}__high"]
    assert metric["value"] == "eval_loss" and "Up to 12 tries" in planned
    for ticked, raw, tries, says in (
        (options["value"], {f"{NAME}__high": "fast"}, 12, "must be a number, but is 'fast'"),
        (options["value"], {f"{NAME}__low": 1.0}, 12, "The second must be greater"),
        ([], {}, 12, "Nothing is ticked"),
        (options["value"], {}, None, "Tries must be more than 0"),
    ):
        planned, start = search_panel.plan_updates(page, ticked, raw, "eval_loss", tries, 30, "halving")
        assert says.replace("'", "&#x27;") in planned and not start["interactive"], says
    page.editor.choose_method("bitfit")
    verdict = search_panel.setup_updates(page, parts, "rank_rate", [], {}, None, 12, 30, "halving")
    assert "has no option" in verdict[3] and not verdict[4]["interactive"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_search_is_drawn_while_it_runs_and_when_it_is_done(page, language):
    page.language = language
    driver = begun(page.editor, tries=3)
    for _ in range(3):
        driver.advance()
        worker(page.store, driver.plan.id)
    html = search_html(page, overview(page.home, page.store, driver.plan))
    assert 'data-act="stop"' in html and 'data-act="use"' not in html
    found = drive(driver)
    (job,) = page.store.jobs("running", kind="search")
    page.store.job_ended(job["id"], "done", None, {})
    _, html, shown = search_panel.followed(page, "")
    assert html.count("<tr") == 4 and 'data-act="use"' in html and 'data-act="stop"' not in html
    if language == "en":
        assert f"Judged on {found.reporting} rows that no try has seen: Validation loss 0.5" in html
    stamp = search_panel.stamp_of(page, shown)
    assert shown == driver.plan.id and stamp == search_panel.stamp_of(page, "")
    search_panel.on_press(page, "use", "", driver.plan.id)
    assert page.editor.draft()["training"]["learning_rate"] == found.best.values["training.learning_rate"]
    tag, picked = search_panel.on_press(page, "compare", "", driver.plan.id)[3:5]
    assert tag == driver.plan.tag and len(picked.split(",")) == 3

"""What Compare draws of the runs, what its plot asks the server for, and who may press its buttons."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest

from studio.draft import DraftEditor
from studio.home import Home
from studio.recipe import Recipe
from studio.runs.comparison import compare
from studio.runs.curves import Curves
from studio.store import Store
from studio.ui import ready_comparisons_panel, run_comparison
from studio.ui.access import show_topics
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.run_comparison_view import View, comparison_html, listing_html, picked_after, plot_value
from studio.ui.run_curves import answer
from studio.words import StudioError

HOSTILE = '<script>alert(1)</script> "name"'


@pytest.fixture
def page(tmp_path):
    home = Home(tmp_path / "home")
    return Page(None, "en", DraftEditor(home, Store(home.database)), Feed(Store(home.database)))


def made(page, seed=1, rank=8, value=0.5, name=HOSTILE, steps=5, state="done"):
    recipe = Recipe.model_validate({"method": {"name": "lora", "rank": rank}, "training": {"seed": seed}})
    run_id, job_id = page.store.create_run(name, recipe.to_dict(), "cpu")
    page.store.change_run(run_id, name, [HOSTILE])
    for step in range(1, steps + 1):
        page.store.add_metrics(run_id, step, {"loss": value + seed / step, "tokens": 10, "seconds": 1.0})
    page.store.job_started(job_id, 1, 1.0)
    if state != "running":
        page.store.job_ended(job_id, state, None, {"metrics": {"exact_match": value}})
    return run_id


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_and_tags_are_text_and_only_what_differs_is_a_column(page, language):
    page.language = language
    ids = [made(page, seed, rank, 0.3 + rank / 100 + seed / 10) for rank in (8, 16) for seed in (1, 2)]
    found = compare(page.store, ids)
    html = listing_html(page, View(picked=",".join(ids)), ids) + comparison_html(page, found)
    assert "<script>" not in html and html.count('data-pick="') == 4 and "checked" in html
    assert "(method.rank)" in html and "(training.seed)" in html and "method.alpha" not in html
    means = html.partition("compared-runs")[2].partition("</table>")[0]
    assert means.count("<tr>") == 3 and "61%" in means and "53%" in means  # 46 + 15, 38 + 15
    plotted = json.loads(plot_value(page, found))
    assert [run["colour"] for run in plotted["runs"]] == [0, 1, 0, 1] and len(plotted["groups"]) == 2
    assert {run["id"] for run in plotted["runs"]} == set(ids)


def test_an_empty_list_says_what_to_do(page):
    assert "No runs yet" in listing_html(page, View(), [])
    assert "search for less" in listing_html(page, View(words="x"), [])


def test_runs_of_other_pages_stay_picked(page):
    view = View(picked="a,b")
    assert picked_after(view, ["c"], ["b", "c"]) == "a,c"
    assert picked_after(view, ["b", "c"], ["b", "c"]) == "a,b,c" and picked_after(view, [], ["a", "b"]) == ""


def test_the_plot_gets_each_curve_once_and_means_where_all_runs_have_values(page):
    ids = [made(page, 1, value=0.0), made(page, 2, value=1.0, steps=8, state="running")]
    curves = Curves(page.home, page.store)
    request = {"runs": [*ids, "gone"], "groups": [ids], "metric": "loss", "axis": "tokens", "seen": ""}
    found = answer(curves, page.store, request)
    assert (found["more"], found["live"], found["metrics"]) == (False, True, ["loss"])
    assert found["curves"][ids[1]] == [
        [10 * step for step in range(1, 9)],
        [float(f"{1 + 2 / step:.6g}") for step in range(1, 9)],
    ]
    x, mean, low, high = found["means"][0]
    assert (x[0], x[-1]) == (10, 50) and (mean[0], low[0], high[0]) == (2, 1, 3)
    again = answer(curves, page.store, {**request, "seen": found["stamp"]})
    assert "curves" not in again and again["stamp"] == found["stamp"]
    page.store.add_metrics(ids[1], 9, {"loss": 0.5})
    assert answer(curves, page.store, {**request, "seen": found["stamp"]})["curves"][ids[1]][1][-1] == 0.5
    for bad in (None, [], {"runs": "x"}, {"runs": [1, {}], "axis": "step"}, {**request, "axis": "colour"}):
        assert answer(curves, page.store, bad)["curves"] == {}


def test_one_run_is_named_and_several_get_tags(page):
    one, two = made(page), made(page)
    run_comparison.annotate(page, [one], "  New   name ", "a, b,A")
    assert page.store.run(one)["name"] == "New name" and page.store.run(one)["tags"] == ["a", "b"]
    run_comparison.annotate(page, [one, two], "", "c")
    assert page.store.run(one)["tags"] == ["a", "b", "c"] and page.store.run(two)["tags"] == [HOSTILE, "c"]
    for name, tags in (("", "a"), ("ok", "x" * 41), ("two\nlines\x00", "")):
        with pytest.raises(StudioError):
            run_comparison.annotate(page, [one], name, tags)
    with pytest.raises(StudioError):
        run_comparison.annotate(page, [one, two], "", ",".join(map(str, range(18))))  # too many for the first
    assert page.store.run(two)["tags"] == [HOSTILE, "c"]


def test_visitors_delete_nothing_and_see_nothing_unless_the_owner_shows_recipes(page, monkeypatch):
    bound = {}
    with gr.Blocks() as demo:
        page.run, page.changed, changed, page.tabs = gr.Textbox(), gr.Textbox(), gr.Textbox(), gr.Tabs()
        page.follow_draft("train")
        run_comparison.build(page, changed)()
    for function in demo.fns.values():
        if function.fn:
            bound.setdefault(function.fn.__name__, function)
    run = made(page)
    monkeypatch.setenv("SPACE_ID", "ada/studio")
    values = {component: "" for component in bound["press"].inputs}
    event = SimpleNamespace(act="delete", item="")
    show_topics(page.store, [])
    hidden = bound["press"].fn(None, values, event, None)
    assert hidden == [gr.skip()] * len(bound["press"].outputs)
    show_topics(page.store, ["recipes"])
    for name, given in (
        ("press", (values, event, None)),
        ("keep", (values,)),
        ("begin", ("rank", 1)),
        ("rows_file", ("",)),
    ):
        with pytest.raises(gr.Error, match="Only the owner"):
            bound[name].fn(None, *given)
    assert page.store.run(run) and not page.store.queue()
    assert run in str(bound["look"].fn(None, values))


def test_a_card_that_does_not_fit_is_disabled_with_its_reason(page):
    assert "aria-disabled" not in ready_comparisons_panel.cards_html(page, "rank")
    page.editor.choose_method("bitfit")
    html = ready_comparisons_panel.cards_html(page, "rank")
    assert html.count('aria-disabled="true"') == 3 and "has no option" in html
    text, start = ready_comparisons_panel.plan_updates(page, "rank", 2)
    assert "has no option" in text and not start["interactive"]
    text, start = ready_comparisons_panel.plan_updates(page, "schedule", 3)
    assert text.count("<li>") == 9 and start["interactive"] and "min" in text

"""A search with real runs on the starter and real workers: a kill in the middle, the result and its judgement."""

import os
import signal

import pytest

from studio.draft import DraftEditor
from studio.recipe import Recipe
from studio.search import control, overview, plan
from studio.search.control import Order
from studio.search.space import proposed
from studio.store import ENDED
from tests.conftest import until
from tests.jobs.jobs_helpers import end_everything

pytestmark = pytest.mark.slow

TRAINING = {"max_steps": 6, "batch_size": 2, "learning_rate": 3e-3, "evaluation_rows": 4, "answer_length": 4}


@pytest.fixture
def editor(home, store):
    made = DraftEditor(home, store)
    made.change(**Recipe.model_validate({"data": {"source": "captain"}, "training": TRAINING}).to_dict())
    yield made
    end_everything(home)


def test_a_killed_search_goes_on_without_a_lost_or_doubled_try_and_is_judged_on_untouched_rows(editor, home, store):
    preflight = editor.preflight()
    order = Order(proposed(preflight.recipe, "rank_rate"), "eval_loss", tries=3, minutes=10)
    search = control.start(editor, control.planned(preflight, order))
    until(lambda: overview.runs_of(store, search), 120, "no try is queued")
    (driver,) = overview.live_drivers(store, search)
    os.kill(until(lambda: store.job(driver["id"])["pid"], 20, "no driver"), signal.SIGKILL)
    until(lambda: store.job(driver["id"])["state"] == "failed", 20, "the kill is not seen")
    known = set(overview.runs_of(store, search))
    control.resume(home, store, search)
    until(lambda: not overview.live_drivers(store, search), 300, "the search does not end")

    found = overview.overview(home, store, plan.read(home, search))
    assert found.state == "done" and len(found.tries) == 3, (found.state, str(found.reason))
    runs = overview.runs_of(store, search)
    assert known <= set(runs) and sorted(runs) == [0, 1, 2]
    values = [tuple(row.values.values()) for row in found.tries]
    assert len(set(values)) == 3 and found.own.run == found.tries[0].run
    assert all(run["state"] in ENDED and set(run["tags"]) >= {"search"} for run in runs.values())
    assert {row.state for row in found.tries} <= {"done", "weak"}
    done = [row.value for row in found.tries if row.value is not None]
    assert found.best.value == min(done) > 0

    # The rows that judge are in no run; the best try and one's own settings are judged on them.
    assert found.choosing + found.reporting == len(preflight.dataset.validation)
    for row in (found.best, found.own):
        figures = overview.judged_metrics(found, row)
        assert next(iter(figures)) == "eval_loss" and figures["exact_match"].interval
    judged = overview.judged_metrics(found, found.own)["eval_loss"].value
    assert judged != found.own.value and judged == pytest.approx(found.own.value, rel=0.5)

    used = control.best_recipe(home, store, search, editor.draft())
    assert used["data"] == editor.draft()["data"] and used["training"]["max_steps"] == 6
    assert used["training"]["learning_rate"] == found.best.values["training.learning_rate"]
    assert used["training"]["evaluation_rows"] == TRAINING["evaluation_rows"]
    assert used["method"]["alpha"] / used["method"]["rank"] == 2
    with pytest.raises(Exception, match="finished"):
        control.resume(home, store, search)

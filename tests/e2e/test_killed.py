"""Killing things in mid-run: the page says what happened, and shows what went on without it.

That nothing recorded is lost, whatever dies and whenever, `tests/chaos` shows without a browser.
"""

import os
import signal

import psutil
import pytest

from studio.recipe import Recipe
from tests.conftest import until
from tests.e2e.pages import ready, start, status, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Long enough to be killed in the middle, with checkpoints to come back to.
TRAINING = {
    "learning_rate": 1e-3,
    "max_steps": 400,
    "batch_size": 2,
    "save_steps": 10,
    "evaluations": 0,
    "evaluation_rows": 4,
    "sample_prompts": 0,
}


@pytest.fixture
def running(studio, open_page):
    """The studio, and a page of it that shows a run in its middle. What a test killed stays as it left it."""
    studio.store.set_note(
        "draft", Recipe.model_validate({"data": {"source": "captain"}, "training": TRAINING}).to_dict()
    )
    studio.wait_for_standby()
    page = open_page(studio.address)
    ready(page)
    tab(page, "Train")
    start(page, studio)
    until(lambda: (run := studio.store.latest_run()) and (run["step"] or 0) >= 25, 60, "the run does not get going")
    return studio, page


def job_of(studio) -> dict:
    return studio.store.job(studio.store.latest_run()["job_id"])


def losses(studio) -> dict[int, float]:
    """Step → training loss; fails if a step was recorded twice."""
    rows = [row for row in studio.store.metrics(studio.store.latest_run()["id"]) if "loss" in row["values"]]
    found = {row["step"]: row["values"]["loss"] for row in rows}
    assert len(found) == len(rows), "a step stands twice"
    return found


def test_kill_the_window(running, open_page):
    studio, _ = running
    run, pid = studio.store.latest_run(), job_of(studio)["pid"]
    studio.kill_window(signal.SIGKILL)
    before = studio.store.run(run["id"])["step"]
    until(lambda: studio.store.run(run["id"])["step"] > before + 5, 30, "the run stands still without a window")
    assert psutil.pid_exists(pid)
    studio.open_window()
    page = open_page(studio.address)
    ready(page)
    tab(page, "Train")
    assert run["name"] in status(page, "Running")
    page.wait_for_function(
        "before => (document.querySelector('#plots [data-key=loss] .js-plotly-plot')?.data?.[0]?.x?.length ?? 0) > "
        "before",
        arg=before,
    )
    page.click("#stop")
    studio.wait_for_run("stopped", seconds=60)


def test_kill_the_worker_and_resume(running):
    studio, page = running
    until(
        lambda: list(studio.home.checkpoints(studio.store.latest_run()["id"]).glob("checkpoint-*/whole")),
        30,
        "no checkpoint",
    )
    first = losses(studio)
    os.kill(job_of(studio)["pid"], signal.SIGKILL)
    text = status(page, "Failed", seconds=30)
    assert "signal 9 (SIGKILL)" in text and "Resume" in text
    page.click("#resume")
    status(page, "Running", seconds=30)
    until(lambda: (studio.store.latest_run()["step"] or 0) > max(first) + 5, 90, "the resumed run does not go on")
    again = losses(studio)
    assert sorted(again) == list(range(1, max(again) + 1)), "a step is missing"
    # The steps after the last checkpoint were taken twice; the same curve means the same losses.
    assert all(abs(again[step] - loss) < 1e-5 for step, loss in first.items())
    page.click("#stop")
    studio.wait_for_run("stopped", seconds=60)

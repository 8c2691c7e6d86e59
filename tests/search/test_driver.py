"""The driver over a real store and a real engine; the test writes the runs' curves in place of workers, with which
`test_real_search.py` proves the same."""

import multiprocessing
import time

import pytest

from studio.draft import DraftEditor
from studio.home import Home
from studio.jobs import client
from studio.search import control, overview, plan, rows
from studio.search.control import Order
from studio.search.driver import Driver
from studio.search.overview import WEAK
from studio.search.space import proposed
from studio.search.study import Study
from studio.store import Store
from studio.words import StudioError

BEST_RATE = 0.006


@pytest.fixture
def editor(home, store, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    return DraftEditor(home, store)


def begun(editor, tries=4, minutes=60.0, metric="eval_loss", **more):
    """A search of the captain's rank and rate, and a driver whose job counts as running."""
    preflight = editor.preflight()
    order = Order(proposed(preflight.recipe, "rank_rate"), metric, tries, minutes, **more)
    search_id = control.start(editor, control.planned(preflight, order))
    driving(editor.store, search_id)
    return Driver(editor.home, editor.store, plan.read(editor.home, search_id))


def driving(store, search_id):
    (job,) = overview.live_drivers(store, search_id)
    store.job_started(job["id"], 1, 1.0)
    return job


def worker(store, search_id, *, looks=4):
    """Take one look, or the end, of each live run: as far from the best rate as its own rate is."""
    for run in overview.runs_of(store, search_id).values():
        job = store.job(run["job_id"])
        if job["state"] == "queued":
            store.job_started(job["id"], 1, 1.0)
        elif job["state"] == "running" and store.stop_requests(job["id"]):
            store.job_ended(job["id"], "stopped")
        elif job["state"] == "running":
            loss = abs(run["recipe"]["training"]["learning_rate"] - BEST_RATE)
            done = sum("eval_loss" in row["values"] for row in store.metrics(run["id"]))
            if done == looks:
                store.job_ended(job["id"], "done", None, {"metrics": {"eval_loss": loss}, "adapter": run["id"]})
            else:
                store.add_metrics(run["id"], done + 1, {"eval_loss": loss + 0.1 / (done + 1)})
    for job in store.jobs("queued", kind="judge"):
        store.job_started(job["id"], 1, 1.0)
        store.job_ended(job["id"], "done", None, {"metrics": {"eval_loss": 0.5}})


def drive(driver, most=400):
    for _ in range(most):
        if driver.advance():
            return overview.overview(driver.home, driver.store, driver.plan)
        worker(driver.store, driver.plan.id)
    raise AssertionError("the search does not end")


def test_tries_are_runs_weak_ones_stop_early_and_the_best_is_judged(editor, store):
    driver = begun(editor, tries=8)
    found = drive(driver)
    assert len(found.tries) == 8 and found.tries[0] == found.own
    assert found.count("weak") >= 2 and found.count("weak") + found.count("done") == 8
    assert found.best.value == min(row.value for row in found.tries if row.value is not None)
    assert set(found.judged) == {found.best.run, found.own.run}
    weak = next(row for row in found.tries if row.state == "weak")
    run = store.run(weak.run)
    assert run["state"] == "stopped" and weak.reason == WEAK and weak.latest
    assert run["tags"] == ["search", driver.plan.tag]
    assert (
        run["recipe"]["training"]["evaluations"] == driver.plan.looks == 4
        and run["recipe"]["training"]["evaluation_rows"] == 0
    )
    assert run["recipe"]["data"]["validation"].endswith("choosing.jsonl")
    assert driver.advance() and len(overview.runs_of(store, driver.plan.id)) == 8


def test_a_driver_that_is_killed_anywhere_loses_and_doubles_nothing(editor, store, monkeypatch):
    driver = begun(editor, tries=3)

    class Killed(BaseException):
        pass

    def kill(*given, **more):
        raise Killed

    for place, name in ((Study, "_complete"), (Store, "create_runs"), (client, "ensure_supervisor")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, kill)
            with pytest.raises(Killed):
                for _ in range(40):
                    driver.advance()
                    worker(store, driver.plan.id)
        driver = Driver(driver.home, store, driver.plan)  # what the next process would have
    found = drive(driver)
    runs = overview.runs_of(store, driver.plan.id)
    assert len(runs) == len(found.tries) == 3 and len(store.runs()) == 3
    assert len({str(row.values) for row in found.tries}) == 3


def test_a_killed_run_is_resumed_and_a_broken_one_is_not(editor, store):
    driver = begun(editor, tries=2)
    driver.advance()
    (run,) = store.runs()
    store.job_started(run["job_id"], 1, 1.0)
    store.job_ended(run["job_id"], "failed", {"text": "killed", "values": {}})
    driver.advance()
    assert store.run(run["id"])["state"] == "queued"
    again = store.run(run["id"])["job_id"]
    store.job_started(again, 1, 1.0)
    store.add_event("traceback", {"text": "the loss became nan"}, run_id=run["id"], job_id=again)
    store.job_ended(again, "failed", {"text": "The model broke.", "values": {}})
    found = drive(driver)
    assert [row.state for row in found.tries] == ["failed", "done"] and found.own is None
    assert len([job for job in store.jobs(kind="train") if job["run_id"] == run["id"]]) == 2


def test_stop_pauses_and_continue_goes_on(editor, home, store):
    driver = begun(editor, tries=2)
    driver.advance()
    (run,) = store.runs()
    control.stop(store, driver.plan.id)
    driver.pause()
    (job,) = overview.live_drivers(store, driver.plan.id)
    store.job_ended(job["id"], "stopped")
    assert store.run(run["id"])["state"] == "paused"
    with pytest.raises(StudioError, match="not running"):
        control.stop(store, driver.plan.id)
    control.resume(home, store, driver.plan.id)
    with pytest.raises(StudioError, match="running already"):
        control.resume(home, store, driver.plan.id)
    driving(store, driver.plan.id)
    after = Driver(home, store, driver.plan)
    after.resume_paused()
    assert store.run(run["id"])["state"] == "queued"
    assert len(drive(after).tries) == 2


def test_the_minutes_end_a_search(editor, store, monkeypatch):
    driver = begun(editor, tries=50, minutes=1)
    driver.advance()
    worker(store, driver.plan.id)
    monkeypatch.setattr(overview, "seconds_spent", lambda store, search: 58.0)
    found = drive(driver)
    assert [row.state for row in found.tries] == ["stopped"] and found.best is None


def test_the_time_spent_is_that_of_drivers_that_worked(store):
    for began, alive, ended in ((100, 190, 200), (150, 240, 250), (1000, 1020, 90_000)):
        job = store.queue_job("search", {"search": "a"})
        store.job_started(job, 1, 1.0)
        store.job_result(job, {"alive": alive})
        with store.transaction() as db:
            db.execute("UPDATE jobs SET state='failed', started=?, ended=? WHERE id=?", (began, ended, job))
    assert overview.seconds_spent(store, "a") == 150 + 30  # the last was killed with the machine


def test_a_metric_of_which_more_is_better_is_maximised_and_its_tries_stop_by_the_loss(editor, store):
    driver = begun(editor, tries=2, metric="exact_match")
    assert driver._oriented("eval_loss", 2.0) == -2.0 and driver._oriented("exact_match", 0.5) == 0.5
    assert driver.study._study.direction.name == "MAXIMIZE"
    driver.advance()
    assert store.runs()[0]["recipe"]["training"]["evaluation_rows"] > 0


def test_what_cannot_be_searched_is_said_before_anything_is_queued(editor, store):
    preflight = editor.preflight()
    rate = proposed(preflight.recipe, "rate")
    for order, says in (
        (Order([]), "Nothing is ticked"),
        (Order(rate, "macro_f1"), "can be judged by eval_loss, exact_match, not by 'macro_f1'"),
        (Order(rate, tries=0), "Tries must be more than 0"),
        (Order(rate, minutes=float("nan")), "Minutes must be more than 0"),
        (Order(rate, pruning="hard"), "Weak tries are stopped by"),
    ):
        with pytest.raises(StudioError, match=says):
            control.planned(preflight, order)
    editor.change(data={"source": ""})
    with pytest.raises(StudioError, match="No data yet"):
        control.planned(editor.preflight(), Order(rate))
    with pytest.raises(StudioError, match="There is no search 'gone'"):
        plan.read(editor.home, "gone")
    assert not store.jobs() and not plan.listed(editor.home)


def _drive_here(root: str, search_id: str) -> None:
    client.ensure_supervisor = lambda home: False
    home = Home(root)
    store = Store(home.database)
    driver = Driver(home, store, plan.read(home, search_id))
    while not driver.advance():
        time.sleep(0.01)


@pytest.mark.slow
def test_two_drivers_of_one_search_make_no_try_twice(editor, home, store):
    driver = begun(editor, tries=5)
    rows.write(home, driver.plan)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_drive_here, args=(str(home.root), driver.plan.id)) for _ in range(2)]
    for process in both:
        process.start()
    end = time.monotonic() + 120
    while any(process.is_alive() for process in both) and time.monotonic() < end:
        worker(store, driver.plan.id)
        time.sleep(0.02)
    assert [process.exitcode for process in both] == [0, 0]
    found = overview.overview(home, store, driver.plan)
    assert len(found.tries) == 5 and len({str(row.values) for row in found.tries}) == 5
    assert sorted(overview.runs_of(store, driver.plan.id)) == [0, 1, 2, 3, 4]
    assert len(store.jobs(kind="judge")) == len(found.judged)

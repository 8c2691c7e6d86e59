"""Requests to jobs and the order of the queue, with dummy jobs in real workers."""

import signal
import time

import pytest

from studio.jobs import client, queue
from studio.jobs.processes import is_living
from studio.store import Store
from studio.words import StudioError
from tests.jobs.jobs_helpers import processes_of, wait_for


@pytest.mark.parametrize(
    ("job", "move", "order"),
    [
        (3, "up", [1, 3, 2]),
        (1, "up", [1, 2, 3]),
        (1, "down", [2, 1, 3]),
        (3, "down", [1, 2, 3]),
        (3, "first", [3, 1, 2]),
        (9, "first", [1, 2, 3]),
    ],
)
def test_moves_in_the_queue(job, move, order):
    assert queue.moved([1, 2, 3], job, move) == order


def names(store):
    return [job["name"] for job in store.queue()]


def test_the_order_of_the_queue_is_kept_in_the_store(tmp_path):
    store = Store(tmp_path / "studio.sqlite3")
    ids = [store.create_run(name, {}, "cpu")[1] for name in "abc"]
    other = store.queue_job("inspect", {})
    store.reorder(lambda waiting: queue.moved(waiting, ids[2], "first"))
    store.create_run("d", {}, "cpu")
    assert names(store) == ["c", "a", "b", "d"]
    store.close()
    again = Store(tmp_path / "studio.sqlite3")  # as after a restart of everything
    assert names(again) == ["c", "a", "b", "d"]
    queued = again.jobs("queued")
    assert [job["id"] for job in queued if job["id"] != other] == [job["id"] for job in again.queue()]
    start, _ = queue.decide(queued, [])
    assert {job["id"] for job in start} == {ids[2], other}
    assert queue.busy_devices(queued) == {"cpu"}


def test_the_newest_run_is_the_one_created_last_although_the_clock_was_set_back(tmp_path, monkeypatch):
    store = Store(tmp_path / "studio.sqlite3")
    store.create_run("before", {}, "cpu")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    after, _ = store.create_run("after", {}, "cpu")
    assert store.latest_run()["id"] == after


def test_a_database_without_positions_gets_them(tmp_path):
    path = tmp_path / "studio.sqlite3"
    store = Store(path)
    store.create_run("a", {}, "cpu")
    with store.transaction() as db:
        db.execute("ALTER TABLE jobs DROP COLUMN position")
    store.close()
    assert names(Store(path)) == ["a"]


def test_a_removed_run_disappears_and_a_resumed_one_is_as_before(studio):
    blocker = studio.run("wait")
    studio.began(blocker)
    fresh = studio.run("answer")
    run_id = studio.store.job(fresh)["run_id"]
    client.remove(studio.store, fresh)
    assert studio.store.run(run_id) is None and studio.store.job(fresh) is None
    with pytest.raises(StudioError, match="not waiting any more"):
        client.remove(studio.store, blocker)
    with pytest.raises(StudioError, match="not waiting any more"):
        client.remove(studio.store, fresh)
    paused = studio.run("wait")
    client.request(studio.store, paused, "pause")
    run_id = studio.store.job(paused)["run_id"]
    again = client.resume_run(studio.store, run_id)
    assert studio.store.job(again)["payload"] == {"act": "wait", "resume": True}  # what it was started with is kept
    client.remove(studio.store, again)
    assert studio.store.run(run_id)["state"] == "paused"


def test_pause_frees_the_device_for_the_next_run_and_resume_queues_it_again(studio):
    first, second = studio.run("wait"), studio.run("wait")
    studio.began(first)
    client.request(studio.store, first, "pause")
    row = studio.left(first)
    assert (row["state"], row["reason"], row["signal"]) == ("paused", None, None) and not is_living(row["pid"])
    studio.began(second)
    run_id = row["run_id"]
    resumed = client.resume_run(studio.store, run_id)
    assert studio.store.run(run_id)["state"] == "queued"
    client.request(studio.store, second, "stop")
    studio.began(resumed)


def test_run_next_overtakes(studio):
    jobs = [studio.run("wait") for _ in range(3)]
    studio.began(jobs[0])
    client.move(studio.store, jobs[2], "first")
    client.stop(studio.store, jobs[0])
    studio.began(jobs[2])
    assert studio.store.job(jobs[1])["state"] == "queued"


def test_the_queue_survives_the_end_of_every_process(studio):
    jobs = [studio.run("wait") for _ in range(3)]
    studio.began(jobs[0])
    client.move(studio.store, jobs[2], "first")
    studio.kill_supervisor()
    for process in processes_of(studio.home):
        process.kill()
    client.ensure_supervisor(studio.home)
    assert studio.ended(jobs[0])["state"] == "failed"
    studio.began(jobs[2])
    assert studio.store.job(jobs[1])["state"] == "queued"


def test_a_paused_worker_that_does_not_react_is_paused_by_force(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STOP_GRACE", "0.2")
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    job_id = studio.run("stubborn")
    studio.began(job_id)
    client.request(studio.store, job_id, "pause")
    row = studio.left(job_id)
    assert (row["state"], row["signal"]) == ("paused", signal.SIGKILL) and "Resume" in studio.reason(row)


def test_what_was_discarded_by_force_cannot_be_resumed(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STOP_GRACE", "0.2")
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    job_id = studio.run("stubborn")
    studio.began(job_id)
    run_id = studio.store.job(job_id)["run_id"]
    studio.home.checkpoints(run_id).mkdir(parents=True)
    client.request(studio.store, job_id, "discard")
    row = studio.left(job_id)
    assert (row["state"], row["result"]) == ("stopped", {"discarded": True}) and "Resume" not in studio.reason(row)
    wait_for(lambda: not studio.home.checkpoints(run_id).exists())
    with pytest.raises(StudioError, match="were discarded"):
        client.resume_run(studio.store, run_id)


def test_a_finished_run_is_not_resumed(studio):
    job_id = studio.run("answer")
    assert studio.ended(job_id)["state"] == "done"
    with pytest.raises(StudioError, match="is finished"):
        client.resume_run(studio.store, studio.store.job(job_id)["run_id"])

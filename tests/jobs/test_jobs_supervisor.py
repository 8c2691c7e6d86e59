"""Real processes: one supervisor a home, what happens when it dies, and when it leaves."""

import subprocess
import sys
import threading
import time
from unittest.mock import Mock

import psutil
import pytest

from studio.home import Home
from studio.jobs import client
from studio.jobs.processes import Lock, current_process, find, is_living, supervisor_lock
from studio.jobs.supervisor import Supervisor
from studio.jobs.timeouts import Timeouts
from studio.store import Store
from studio.words import StudioError
from tests.jobs.jobs_helpers import end_everything, processes_of, wait_for


def test_ensure_is_fast_and_many_at_once_start_one(studio):
    barrier = threading.Barrier(8)

    def ensure():
        barrier.wait()
        started.append(client.ensure_supervisor(studio.home))

    started: list[bool] = []
    threads = [threading.Thread(target=ensure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [False] * 7 + [True]
    studio.ended(studio.run())
    assert len(studio.supervisors()) == 1
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        client.ensure_supervisor(studio.home)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[10] < 0.005


def test_one_started_by_hand_gives_way(studio):
    lock = Lock.take(supervisor_lock(studio.home.root))
    command = [sys.executable, "-m", "studio.jobs.supervisor", str(studio.home.root)]
    second = subprocess.run(command, capture_output=True, text=True)
    lock.drop()
    assert second.returncode == 1 and "has a supervisor already" in second.stderr


def test_the_next_supervisor_adopts_the_worker_of_a_killed_one(studio):
    gate = studio.home.root / "gate"
    job_id = studio.run("wait", until=str(gate))
    waiting = studio.run("answer")
    studio.began(job_id)
    pid = studio.store.job(job_id)["pid"]
    studio.kill_supervisor()
    assert is_living(pid)
    assert client.ensure_supervisor(studio.home)
    wait_for(lambda: f"job {job_id}: adopted worker {pid}" in (studio.home.logs / "supervisor.log").read_text())
    assert studio.store.job(waiting)["state"] == "queued"  # its device is still taken
    gate.touch()
    assert studio.ended(job_id)["result"] == {"waited": True}
    assert studio.ended(waiting)["state"] == "done"


def test_an_adopted_worker_can_be_stopped_by_force_and_its_children_with_it(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STOP_GRACE", "0.2")
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    job_id = studio.run("stubborn")
    child = wait_for(lambda: studio.store.job(job_id)["result"])["child"]
    studio.kill_supervisor()
    client.stop(studio.store, job_id)  # also brings a supervisor
    row = studio.ended(job_id)
    assert row["state"] == "stopped" and "ended by force" in studio.reason(row)
    wait_for(lambda: not is_living(child) and not is_living(row["pid"]))


def test_a_worker_that_finishes_or_dies_while_nobody_watches(studio):
    gate = studio.home.root / "gate"
    finishes = studio.run("wait", until=str(gate))
    dies = studio.run("with_child", device="mps")
    studio.began(finishes)
    child = wait_for(lambda: studio.store.job(dies)["result"])["child"]
    studio.kill_supervisor()
    gate.touch()
    assert studio.ended(finishes)["state"] == "done"
    pid = studio.store.job(dies)["pid"]
    psutil.Process(pid).kill()
    wait_for(lambda: not is_living(pid))
    assert studio.store.job(dies)["state"] == "running"  # nobody has noticed
    client.ensure_supervisor(studio.home)
    row = studio.ended(dies)
    assert (row["state"], row["exit_code"], row["signal"]) == ("failed", None, None)
    assert studio.reason(row).startswith("The worker is gone, and nobody saw how it ended")
    wait_for(lambda: not is_living(child))
    assert studio.store.job(finishes)["state"] == "done"


def test_a_job_that_a_person_runs_in_a_terminal_is_watched_too(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STOP_GRACE", "0.2")
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    client.ensure_supervisor(studio.home)
    code = (
        "import sys; from studio.home import Home; from studio.jobs.worker import run_job; "
        "from studio.store import Store;"
    )
    code += (
        "home = Home(sys.argv[1]); "
        "run_job(home, Store(home.database).create_run('mine', {}, 'cpu', {'act': 'deaf'})[1])"
    )
    by_hand = subprocess.Popen([sys.executable, "-c", code, str(studio.home.root)])  # in our process group
    job_id = wait_for(lambda: studio.store.jobs("running"))[0]["id"]
    waiting = studio.run()
    studio.began(job_id)
    assert studio.store.job(waiting)["state"] == "queued"
    client.stop(studio.store, job_id)
    assert studio.ended(job_id)["state"] == "stopped"
    assert studio.ended(waiting)["state"] == "done"
    by_hand.wait()


def test_a_pid_that_belongs_to_another_process_is_not_adopted(studio):
    bystander = psutil.Popen(["sleep", "60"])
    try:
        job_id = studio.store.queue_job("probe", {})
        studio.store.job_started(job_id, bystander.pid, bystander.create_time() - 1000)
        client.ensure_supervisor(studio.home)
        assert studio.ended(job_id)["state"] == "failed"
        assert bystander.poll() is None  # and it is left alone
    finally:
        bystander.kill()
        bystander.wait()


def test_sigterm_leaves_the_workers_running(studio):
    studio.window()
    gate = studio.home.root / "gate"
    job_id = studio.run("wait", until=str(gate))
    studio.began(job_id)
    supervisor = studio.supervisor()
    supervisor.terminate()
    wait_for(lambda: not is_living(supervisor))
    pid = studio.store.job(job_id)["pid"]
    assert [process.pid for process in processes_of(studio.home)] == [pid]
    gate.touch()
    assert studio.ended(job_id)["state"] == "done"


def test_a_standby_ends_with_the_supervisor_however_that_ends(studio):
    studio.window()
    studio.kill_supervisor()
    wait_for(lambda: processes_of(studio.home) == [])


def test_it_leaves_when_nobody_needs_it_and_asks_the_chat_to_stop(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_IDLE", "0.3")
    chat, run = studio.job("chat", "wait"), studio.run("wait", until=str(studio.home.root / "gate"))
    studio.began(chat)
    studio.began(run)
    time.sleep(1.5)  # far more than idle, and there is still a run
    assert studio.store.job(chat)["state"] == "running"
    (studio.home.root / "gate").touch()
    assert studio.ended(run)["state"] == "done"
    assert studio.ended(chat)["state"] == "stopped"
    wait_for(lambda: processes_of(studio.home) == [])
    assert studio.ended(studio.run())["state"] == "done"  # and is back when it is needed


def test_it_stays_with_a_living_window_and_not_with_a_dead_one(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_IDLE", "0.3")
    pid, created = current_process()
    studio.store.set_note("windows", [{"pid": pid, "created": created - 1000}])
    client.ensure_supervisor(studio.home)
    wait_for(
        lambda: "nobody needs" in (log.read_text() if (log := studio.home.logs / "supervisor.log").exists() else "")
    )
    wait_for(lambda: not studio.supervisors())
    studio.window()
    assert studio.store.note("windows") == [{"pid": pid, "created": created}]
    time.sleep(1.5)
    assert studio.supervisors()


def test_an_unused_standby_gives_its_memory_back_until_somebody_looks_again(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STANDBY_KEEP", "1")
    client.register_window(studio.home)
    first = wait_for(lambda: processes_of(studio.home, "studio.jobs.standby"))[0]
    wait_for(lambda: not is_living(first))
    assert wait_for(lambda: studio.store.note("standby") == {"pid": None, "ready": False})
    client.note_view(studio.store)
    wait_for(lambda: client.warm(studio.store))
    assert studio.ended(studio.run())["state"] == "done"


def test_an_idle_supervisor_sleeps_and_wakes_at_a_request(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STANDBY_KEEP", "0")  # nothing to look after
    client.register_window(studio.home)
    time.sleep(1.5)
    for _ in range(3):
        asked = time.monotonic()
        job_id = studio.run()
        wait_for(lambda job_id=job_id: studio.store.job(job_id)["doing"])
        assert time.monotonic() - asked < 0.5  # its own looks are two seconds apart
        studio.left(job_id)
        time.sleep(0.3)


def test_it_leaves_when_its_home_is_gone(studio, tmp_path):
    studio.window()
    studio.home.root.rename(tmp_path / "moved")
    wait_for(lambda: not processes_of(studio.home))


def test_memory_is_sampled_while_something_runs(studio):
    studio.run("wait", until=str(studio.home.root / "gate"))
    sample = wait_for(lambda: studio.store.note("memory"))
    cpu = sample["devices"]["cpu"]
    assert 0 < cpu["used"] < cpu["total"] and time.time() - sample["time"] < 5


def test_resume_queues_the_run_again_but_not_twice(studio):
    run_id = client.start_run(studio.home, studio.store, "captain", {"method": "lora"}, "mps")
    first = studio.left(studio.store.run(run_id)["job_id"])
    with pytest.raises(StudioError, match="'captain' is finished; train it longer"):
        client.resume_run(studio.store, run_id)
    with studio.store.transaction() as db:
        db.execute("UPDATE jobs SET state='stopped' WHERE run_id=?", (run_id,))
    second = client.resume_run(studio.store, run_id)
    row = studio.store.job(second)
    assert (row["kind"], row["run_id"], row["device"], row["payload"]) == (
        "train",
        first["run_id"],
        "mps",
        {"resume": True},
    )
    studio.ended(second)
    assert studio.store.run(run_id)["job_id"] == second
    studio.kill_supervisor()
    studio.store.queue_again(run_id, {"resume": True})
    with pytest.raises(StudioError, match="'captain' cannot be resumed while it is still waiting or running"):
        client.resume_run(studio.store, run_id)
    with pytest.raises(StudioError, match="There is no run"):
        client.resume_run(studio.store, "20000101-000000-0000")


def test_two_homes_do_not_meet(studio, tmp_path):
    other = Home(tmp_path / "other")
    try:
        assert client.ensure_supervisor(studio.home) and client.ensure_supervisor(other)
        assert studio.ended(studio.run())["state"] == "done"
    finally:
        end_everything(other)


def test_who_is_found_does_not_depend_on_the_clock(monkeypatch):
    pid, created = current_process()
    real = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: real() + 3600)  # as after a step of the clock
    assert find(pid, created).pid == pid and current_process() == (pid, created)


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_step_of_the_clock_ends_no_job_before_its_time(step, tmp_path, monkeypatch):
    home = Home(tmp_path)
    store, worker = Store(home.database), Mock(pid=1, warm=False)
    worker.poll.return_value = None
    backend = Mock()
    backend.start.return_value = worker
    backend.maintain_standby.return_value = {"pid": None, "ready": False}
    supervisor = Supervisor(home, store, backend, Lock.take(supervisor_lock(home.root)), Timeouts(stop_grace=0.3))
    job_id = store.queue_job("train", {})
    supervisor.tick()
    store.job_started(job_id, 1, 0.0)
    Store(home.database).command(job_id, "stop")  # a supervisor sees what others have written
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    supervisor.tick()
    worker.terminate.assert_not_called()
    time.sleep(0.35)
    supervisor.tick()
    worker.terminate.assert_called_once()


def test_identity_is_pid_and_creation():
    pid, created = current_process()
    assert find(pid, created + 0.5).pid == pid
    assert find(pid, created + 1000) is None
    assert find(None, None) is None
    assert find(pid, psutil.Process().create_time())  # as earlier versions have recorded it
    zombie = psutil.Popen(["true"])
    wait_for(lambda: zombie.status() == psutil.STATUS_ZOMBIE)
    assert find(zombie.pid, zombie.create_time()) is None
    zombie.wait()
    assert find(zombie.pid, created) is None

"""Real processes: how a job starts, waits, ends and is stopped."""

import signal
import time

import psutil
import pytest

from studio.jobs import client, standby
from studio.jobs.job import log_path
from studio.jobs.processes import is_living
from tests.jobs.jobs_helpers import processes_of, wait_for


def test_a_fresh_process_does_the_job_when_there_is_no_standby(studio):
    job_id = studio.run()
    row = studio.left(job_id)
    assert (row["state"], row["result"], row["exit_code"], row["signal"]) == ("done", {"answer": 42}, 0, None)
    assert row["doing"] == {"text": "Counting to {n}", "values": {"n": 3}}
    assert row["created"] <= row["started"] <= row["ended"]
    assert studio.store.events(row["run_id"], kind="log")[0]["data"] == {"text": "one, two, three"}
    assert "printed by the job" in log_path(studio.home, job_id).read_text()


def test_a_warm_standby_becomes_the_worker_at_once(studio):
    studio.window()
    pid = studio.store.note("standby")["pid"]
    asked = time.time()
    job_id = studio.run()
    assert studio.began(job_id)["time"] - asked < 1.5
    row = studio.left(job_id)
    assert (row["state"], row["pid"], row["exit_code"]) == ("done", pid, 0)
    assert "printed by the job" in log_path(studio.home, job_id).read_text()
    assert not client.warm(studio.store)  # the next one waits a while, so that the job has the cores


def test_a_new_standby_follows(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STANDBY_DELAY", "0.1")
    studio.window()
    first = studio.store.note("standby")["pid"]
    studio.ended(studio.run())
    wait_for(lambda: client.warm(studio.store) and studio.store.note("standby")["pid"] != first)


def test_a_job_given_to_a_standby_that_is_dead_or_dies_is_still_done(studio):
    studio.window()
    standing_by = psutil.Process(studio.store.note("standby")["pid"])
    standing_by.suspend()  # it has the job in its pipe and never reads it
    job_id = studio.run("answer")
    wait_for(lambda: not client.warm(studio.store))
    standing_by.kill()
    row = studio.left(job_id)
    assert row["state"] == "done" and row["pid"] != standing_by.pid


def test_broken_imports_end_the_standby_and_not_the_studio(studio, monkeypatch):
    monkeypatch.setenv(standby.IMPORTS, "dummy_broken")
    (studio.home.root / "dummy_broken.py").write_text("raise RuntimeError('broken in two')")
    monkeypatch.setenv("PYTHONPATH", f"{studio.home.root}:{__file__.rpartition('/')[0]}")
    client.register_window(studio.home)
    wait_for(lambda: "broken in two" in (log.read_text() if (log := studio.home.logs / "standby.log").exists() else ""))
    assert studio.ended(studio.run())["state"] == "done"


def test_a_module_that_is_not_installed_is_left_out(studio, monkeypatch):
    (studio.home.root / "dummy_half.py").write_text("import no_such_module")
    monkeypatch.setenv("PYTHONPATH", str(studio.home.root))
    monkeypatch.setenv(standby.IMPORTS, "no_such_package,no_such_package.inside,dummy_half")
    studio.window()


@pytest.mark.slow
def test_the_real_standby_has_torch_and_no_cuda(studio, monkeypatch):
    monkeypatch.delenv(standby.IMPORTS)
    client.register_window(studio.home)
    wait_for(lambda: client.warm(studio.store), timeout=90)
    asked = time.time()
    job_id = studio.run("heavy")
    began = studio.began(job_id)
    assert began["torch"] and began["time"] - asked < 1.5
    assert studio.ended(job_id)["result"]["cuda_initialized"] is False


def test_one_run_a_device_and_the_rest_in_order(studio):
    gates = [studio.home.root / f"gate{i}" for i in range(3)]
    jobs = [studio.run("wait", until=str(gate)) for gate in gates]
    other_device = studio.run("wait", device="mps")
    inspect = studio.job("inspect")
    studio.began(jobs[0])
    studio.began(other_device)
    assert studio.ended(inspect)["state"] == "done"  # starts at once, whatever runs
    for i, gate in enumerate(gates):
        studio.began(jobs[i])
        assert [studio.store.job(job)["state"] for job in jobs[i + 1 :]] == ["queued"] * (2 - i)
        gate.touch()
        assert studio.ended(jobs[i])["result"] == {"waited": True}


def test_a_run_takes_a_gpu_from_the_chat_but_leaves_it_the_cpu(studio):
    chats = [studio.job("chat", "wait", device=device) for device in ("cuda:0", "cpu")]
    for chat in chats:
        studio.began(chat)
    on_gpu, on_cpu = (studio.run("wait", device=device) for device in ("cuda:0", "cpu"))
    studio.began(on_gpu)
    studio.began(on_cpu)
    assert [studio.store.job(chat)["state"] for chat in chats] == ["stopped", "running"]
    left, began = studio.store.job(chats[0])["ended"], studio.store.job(on_gpu)["started"]
    assert left < began


def test_stop_of_a_running_and_of_a_queued_job(studio):
    running, queued = studio.run("wait"), studio.run("wait")
    studio.began(running)
    client.stop(studio.store, queued)
    assert studio.store.job(queued)["state"] == "stopped"
    client.stop(studio.store, running)
    row = studio.left(running)
    assert (row["state"], row["reason"], row["exit_code"], row["signal"]) == ("stopped", None, 0, None)
    assert studio.store.events(job_id=queued) == []
    assert not is_living(row["pid"])


def test_sigterm_asks_the_job_to_stop(studio):
    assert studio.left(studio.run("terminated"))["state"] == "stopped"


def test_a_stubborn_worker_and_its_children_are_ended_by_force(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_STOP_GRACE", "0.2")
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    job_id = studio.run("stubborn")
    child = wait_for(lambda: studio.store.job(job_id)["result"])["child"]
    client.stop(studio.store, job_id)
    row = studio.left(job_id)
    assert (row["state"], row["signal"]) == ("stopped", signal.SIGKILL)
    assert studio.reason(row).startswith("It did not stop within 0.2 seconds, so its worker was ended by force.")
    wait_for(lambda: not is_living(child) and not is_living(row["pid"]))


def test_a_process_that_stays_after_its_final_word_is_ended(studio, monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_KILL_GRACE", "0.2")
    row = studio.left(studio.run("hang_after_final_word"))
    assert (row["state"], row["signal"]) == ("done", signal.SIGKILL)


def test_what_a_worker_leaves_behind_is_ended(studio):
    row = studio.left(studio.run("leave_child"))
    wait_for(lambda: not is_living(row["result"]["child"]))


@pytest.mark.parametrize(
    "kind, advice", [("train", "Press Resume to continue from the last checkpoint"), ("inspect", "Try again")]
)
def test_a_killed_worker_has_failed_with_its_signal_in_words(studio, kind, advice):
    job_id = studio.run("with_child") if kind == "train" else studio.job(kind, "with_child")
    child = wait_for(lambda: studio.store.job(job_id)["result"])["child"]
    psutil.Process(studio.store.job(job_id)["pid"]).kill()
    row = studio.left(job_id)
    assert (row["state"], row["signal"], row["exit_code"]) == ("failed", 9, None)
    assert studio.reason(row).startswith(f"The worker was killed by signal 9 (SIGKILL). {advice}; if this repeats")
    wait_for(lambda: not is_living(child))


def test_how_jobs_fail_in_words(studio):
    expected = {
        "disk_full": "The disk is full: /data/checkpoint-40/adapter_model.safetensors could not be written. Free some "
        "space",
        "hidden_disk_full": f"The disk is full: {studio.home.root} could not be written.",
        "no_memory": "Not enough memory: MemoryError: tried to allocate 9.8 GB. Halve the batch size, turn on gradient",
        "known": "The file a.csv has no rows.",
        "unknown": "The worker failed: ValueError: seven is not a colour. The full report is in the log.",
        "exits": "The worker failed: SystemExit: 0. The full report is in the log.",
        "segfault": "The worker was ended by signal 11 (SIGSEGV). Try again; the full report is in the log.",
    }
    jobs = {act: studio.job("probe", act) for act in expected}
    jobs["no such kind"] = studio.job("nonsense")
    expected["no such kind"] = "There is no job of the kind 'nonsense'"
    for act, sentence in expected.items():
        row = studio.left(jobs[act])
        assert row["state"] == "failed" and studio.reason(row).startswith(sentence), act
        assert act == "segfault" or row["exit_code"] == 1
    report = studio.store.events(job_id=jobs["unknown"], kind="traceback")[0]["data"]["text"]
    assert "second line" in report and "dummy_jobs.py" in report
    assert "Segmentation fault" in log_path(studio.home, jobs["segfault"]).read_text()


def test_a_worker_sees_only_its_device(studio, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    jobs = [studio.job("probe", "seen_devices", device=device) for device in ("cpu", "cuda:1")]
    seen = [studio.ended(job)["result"] for job in jobs]
    assert seen == [{"visible": "", "torch_device": "cpu"}, {"visible": "5", "torch_device": "cuda:0"}]


def test_nothing_is_left_when_all_has_ended(studio):
    studio.window()
    studio.left(studio.run())
    supervisor = studio.supervisor()
    supervisor.terminate()
    wait_for(lambda: processes_of(studio.home) == [])

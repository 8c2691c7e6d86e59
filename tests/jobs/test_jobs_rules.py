"""Pure rules: the queue, reasons in words, memory and the times."""

import errno
import sqlite3
import subprocess
import sys
from unittest.mock import Mock

import pytest

from studio.home import REPOSITORY, Home
from studio.jobs import failure_reasons, memory, queue
from studio.jobs.backends import Exit
from studio.jobs.processes import Lock, supervisor_lock
from studio.jobs.supervisor import Supervisor
from studio.jobs.timeouts import Timeouts
from studio.store import Store


def job(number, kind, device="cpu"):
    return {"id": number, "kind": kind, "device": device}


@pytest.mark.parametrize(
    "queued, running, start, leave",
    [
        ([job(1, "train"), job(2, "train"), job(3, "train", "cuda:0")], [], [1, 3], []),
        ([job(2, "train")], [job(1, "train")], [], []),
        ([job(2, "inspect"), job(3, "inspect"), job(4, "export")], [job(1, "train")], [2, 3, 4], []),
        ([job(2, "chat"), job(3, "chat", "cuda:0")], [job(1, "chat")], [3], []),
        ([job(2, "train")], [job(1, "chat")], [2], []),
        ([job(2, "train", "cuda:0")], [job(1, "chat", "cuda:0")], [], [1]),
        ([job(2, "train", "cuda:1")], [job(1, "chat", "cuda:0")], [2], []),
        ([job(3, "train", "cuda:0")], [job(1, "chat", "cuda:0"), job(2, "train", "cuda:0")], [], []),
    ],
)
def test_who_starts_and_who_leaves(queued, running, start, leave):
    started, left = queue.decide(queued, running)
    assert ([one["id"] for one in started], [one["id"] for one in left]) == (start, leave)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 9 bytes."
        ),
    ],
)
def test_each_kind_of_memory_error_is_one(error, tmp_path):
    text = failure_reasons.reason_of_exception(error, tmp_path).say()
    assert text.startswith("Not enough memory: ") and ".." not in text


def test_a_full_disk_is_found_behind_other_errors(tmp_path):
    error = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert str(tmp_path) in failure_reasons.reason_of_exception(error, tmp_path).say()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database is locked"), "kept the studio's database in"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cannot be written: OperationalError"),
        (OSError(errno.EROFS, "Read-only file system", "/media/a"), "/media/a cannot be written: OSError"),
    ],
)
def test_a_locked_or_read_only_home_in_words(error, words, tmp_path):
    reason = failure_reasons.reason_of_exception(error, tmp_path)
    assert words in str(reason) and str(reason).endswith("press Resume or try again.")


def test_a_file_that_cannot_be_read_is_no_read_only_home(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "/data/a.csv")
    assert failure_reasons.reason_of_storage(error, tmp_path) is None
    inside = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "runs" / "a"))
    assert "cannot be written" in str(failure_reasons.reason_of_storage(inside, tmp_path))


def test_a_home_that_cannot_be_written_is_said_before_anything_begins(tmp_path):
    (tmp_path / "home").write_text("a file is in its place")
    command = [sys.executable, "app.py", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"The studio's folder {tmp_path / 'home'} cannot be written (")


def test_exits_in_words():
    assert "exit code 3" in failure_reasons.reason_of_exit(3, None, "train").say()
    assert "signal 6 (SIGABRT)" in failure_reasons.reason_of_exit(None, 6, "train").say()
    assert "nobody saw" in failure_reasons.reason_of_exit(None, None, "chat").say()
    assert failure_reasons.reason_of_exit(None, 9, "train").to_json()["values"] == {"number": 9, "name": "SIGKILL"}


def test_memory_of_gpus_and_containers(tmp_path):
    answer = "0, 1024, 81559, 37, 55, 120.5\n1, [N/A], [N/A], 0, 1, 1\n2, 0, 1000, [N/A], [N/A], [N/A]\n"
    assert memory.parse(answer) == {
        "cuda:0": {"used": 1 << 30, "total": 81559 << 20, "busy": 37, "temperature": 55, "power": 120.5},
        "cuda:2": {"used": 0, "total": 1000 << 20},
    }
    whole = memory.system(tmp_path)["total"]
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert memory.system(tmp_path) == {"used": 500000, "total": 1000000}
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.system(tmp_path)["total"] == whole


def test_times_can_be_set(monkeypatch):
    monkeypatch.setenv("DELTA_STUDIO_CHAT_STOP_GRACE", "1.5")
    assert Timeouts.from_environment() == Timeouts(chat_stop_grace=1.5)
    assert (Timeouts().grace("chat"), Timeouts().grace("train")) == (5.0, 30.0)


class OneWorker:
    """A backend whose one worker leaves when it is told to."""

    pid, warm, left = 1, False, None

    def start(self, job):
        return self

    def poll(self):
        return self.left

    def adopt(self, job):
        return None

    def maintain_standby(self, wanted):
        return {"pid": None, "ready": False}


def test_a_full_disk_loses_no_exit(tmp_path, monkeypatch):
    home = Home(tmp_path)
    store, backend = Store(home.database), OneWorker()
    supervisor = Supervisor(home, store, backend, Lock.take(supervisor_lock(home.root)), Timeouts())
    job_id = store.queue_job("train", {})
    supervisor.tick()
    store.job_started(job_id, backend.pid, 0.0)
    backend.left = Exit(signal=9)
    with monkeypatch.context() as patch:
        patch.setattr(store, "job_exit", Mock(side_effect=sqlite3.OperationalError("database or disk is full")))
        with pytest.raises(sqlite3.OperationalError):
            supervisor.tick()
    supervisor.tick()
    row = store.job(job_id)
    assert (row["state"], row["signal"]) == ("failed", 9)
    assert supervisor.watched == {}


def test_a_job_that_two_supervisors_gave_away_stays_with_the_worker_that_claimed_it(tmp_path):
    home = Home(tmp_path)
    store, loser, winner = Store(home.database), OneWorker(), OneWorker()
    winner.pid, loser.adopt = 2, lambda job: winner
    supervisor = Supervisor(home, store, loser, Lock.take(supervisor_lock(home.root)), Timeouts())
    job_id = store.queue_job("train", {})
    supervisor.tick()
    store.job_started(job_id, winner.pid, 0.0)
    loser.left = Exit(code=0)
    supervisor.tick()  # the same look that sees the loser leave adopts the winner
    assert supervisor.watched[job_id].handle is winner and store.job(job_id)["state"] == "running"
    winner.left = Exit()
    supervisor.tick()
    assert store.job(job_id)["state"] == "failed" and supervisor.watched == {}

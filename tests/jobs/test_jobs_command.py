"""`python -m studio.jobs` over a real store, supervisor and workers (with dummy jobs), as a person types it."""

import json
import subprocess
import sys

import pytest

from studio.home import PRESETS, REPOSITORY

CAPTAIN = str(PRESETS / "captain.yaml")


@pytest.fixture
def command(studio):
    """command(*arguments) → (exit status, standard output, standard error) of `python -m studio.jobs`."""

    def run(*arguments, home=studio.home.root):
        done = subprocess.run(
            [sys.executable, "-m", "studio.jobs", *arguments, "--home", str(home)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.slow
def test_start_wait_show_and_list(command, studio):
    assert "No runs yet" in command("list")[1]
    status, output, _ = command("start", CAPTAIN, "--name", "First", "--wait", "--json")
    run = json.loads(output)
    assert status == 0 and run["state"] == "done" and studio.store.run(run["id"])["state"] == "done"
    for name in ("First", "last", run["id"]):
        assert json.loads(command("show", name, "--json")[1])["id"] == run["id"]
    assert command("wait", "First")[0] == 0
    (listed,) = json.loads(command("list", "--json")[1])
    assert (listed["id"], listed["name"], listed["state"]) == (run["id"], "First", "done")
    assert run["id"] in command("list")[1]


@pytest.mark.slow
def test_what_cannot_be_done_is_said(command, studio, tmp_path):
    (tmp_path / "torn.yaml").write_text("model: {name: [")
    for arguments, says in (
        (("show", "nothing"), "There is no run 'nothing'"),
        (("start", str(tmp_path / "missing.yaml")), "missing.yaml cannot be read"),
        (("start", str(tmp_path / "torn.yaml")), "torn.yaml"),
    ):
        status, _, error = command(*arguments)
        assert status == 2 and says in error, arguments
    run_id = json.loads(command("start", CAPTAIN, "--wait", "--json")[1])["id"]
    status, _, error = command("stop", run_id)
    assert status == 2 and "has ended already" in error


@pytest.mark.slow
def test_stop_and_resume(command, studio, tmp_path):
    gate = tmp_path / "gate"
    job_id = studio.run("wait", until=str(gate))
    studio.began(job_id)
    assert command("wait", "last", "--timeout", "0.2")[0] == 1
    assert command("stop", "last")[0] == 0
    studio.ended(job_id)
    status, output, _ = command("wait", "last", "--json")
    assert status == 1 and json.loads(output)["state"] == "stopped"
    gate.touch()
    status, output, _ = command("resume", "last", "--wait", "--json")
    assert status == 0 and json.loads(output)["state"] == "done"


@pytest.mark.slow
def test_pause_move_and_remove(command, studio):
    running, waiting, last = studio.run("wait"), studio.run("with_child"), studio.run("answer")
    studio.began(running)
    assert command("first", "answer")[0] == 0
    assert [job["name"] for job in studio.store.queue()] == ["answer", "with_child"]
    assert command("remove", "with_child")[0] == 0 and studio.store.job(waiting) is None
    assert command("pause", "wait")[0] == 0
    assert studio.ended(running)["state"] == "paused" and studio.ended(last)["state"] == "done"
    status, _, error = command("pause", "wait")
    assert status == 2 and "has ended already (paused)" in error

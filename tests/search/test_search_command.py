"""`python -m studio.jobs search` as a person types it, but in this process and without workers."""

import json

import pytest

from studio.home import PRESETS
from studio.jobs import client
from studio.jobs.__main__ import main
from studio.search import overview, plan
from studio.search.driver import Driver
from tests.search.test_driver import drive, driving

CAPTAIN = str(PRESETS / "captain.yaml")


@pytest.fixture
def command(home, monkeypatch, capsys):
    """command(*arguments) → (exit status, standard output, standard error)."""
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)

    def run(*arguments):
        status = main(["search", *arguments, "--home", str(home.root)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_a_search_is_started_shown_stopped_continued_and_used(command, home, store):
    assert "No searches yet" in command("list")[1]
    options = ("--option", "training.learning_rate=0.001:0.01", "--tries", "2", "--minutes", "60", "--json")
    status, output, _ = command("start", CAPTAIN, *options)
    search = json.loads(output)["id"]
    (parameter,) = plan.read(home, search).parameters
    assert status == 0 and (parameter.low, parameter.high) == (0.001, 0.01)
    assert command("stop", "last")[0] == 0 and not overview.live_drivers(store, search)
    assert command("stop", search)[2].strip() == "This search is not running."
    assert command("continue", search)[0] == 0
    driving(store, search)
    drive(Driver(home, store, plan.read(home, search)))
    status, output, _ = command("show", "last")
    assert status == 0 and "2 of 2 tries" in output and "untouched rows: eval_loss 0.5" in output
    shown = json.loads(command("show", search, "--json")[1])
    assert [row["state"] for row in shown["tries"]].count("done") >= 1 and shown["reporting_rows"] > 0
    assert command("use", search)[0] == 0
    best = next(row for row in shown["tries"] if row["run"] == shown["best"])
    assert store.note("draft")["training"]["learning_rate"] == best["values"]["training.learning_rate"]
    assert search in command("list")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "gone"), "There is no search 'gone'."),
        (("start", CAPTAIN, "--option", "training.seed"), "'training.seed' cannot be searched; what can: training."),
        (("start", CAPTAIN, "--option", "training.learning_rate=1:0.1"), "The second must be greater"),
        (("start", CAPTAIN, "--metric", "macro_f1"), "can be judged by"),
        (("start", "missing.yaml"), "missing.yaml cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(command, home, arguments, says):
    status, _, error = command(*arguments)
    assert status == 2 and says in error and not plan.listed(home)

"""The log grows by what is new, whoever looks and however long it is; the output of a worker is read from its file."""

from types import SimpleNamespace

import pytest

from studio.draft import DraftEditor
from studio.home import Home
from studio.jobs.job import log_path
from studio.store import Store
from studio.ui import frame, run_log
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.run_log import more


@pytest.fixture
def page(tmp_path):
    home = Home(tmp_path / "home")
    return Page(None, "en", DraftEditor(home, Store(home.database)), Feed(Store(home.database)))


@pytest.fixture
def run(page):
    run_id, job_id = page.store.create_run("a run", {}, "cpu")
    page.store.job_started(job_id, 1, 1.0)
    return page.store.run(run_id)


def log(page, run, text, kind="log"):
    page.store.add_event(kind, {"text": text}, run_id=run["id"], job_id=run["job_id"])


def ask(page, run, source="messages", known=None):
    asked = {"source": source, "run": "", "job": 0, "after": 0}
    if known:
        asked |= {key: known[key] for key in ("run", "job", "after")}
    return more(page, run["id"], SimpleNamespace(**asked))


def texts(answer):
    return [line["text"].partition("  ")[2] or line["text"] for line in answer["lines"]]


def test_messages_are_sent_once(page, run):
    log(page, run, "one")
    first = ask(page, run)
    assert first["reset"] and texts(first) == ["Started on cpu.", "one"]
    assert ask(page, run, known=first) is None
    log(page, run, "two")
    log(page, run, "Traceback …", "traceback")
    second = ask(page, run, known=first)
    assert not second["reset"] and second["from"] == first["after"]
    assert texts(second) == ["two", "Traceback …"] and second["lines"][1]["folded"]
    assert ask(page, run, known=second) is None


def test_that_a_run_started_is_told_once_though_it_logs_nothing(page, run):
    first = ask(page, run)
    assert texts(first) == ["Started on cpu."] and ask(page, run, known=first) is None
    log(page, run, "one")
    assert texts(ask(page, run, known=first)) == ["one"]


def test_of_a_long_log_the_tail_is_sent(page, run, monkeypatch):
    monkeypatch.setattr(run_log, "_LINES", 3)
    for number in range(9):
        log(page, run, f"line {number}")
    assert texts(ask(page, run)) == ["line 6", "line 7", "line 8"]


def test_another_run_replaces_the_log_and_no_run_has_none(page, run):
    known = ask(page, run)
    run_id, _ = page.store.create_run("another", {}, "cpu")
    answer = ask(page, page.store.run(run_id), known=known)
    assert answer["reset"] and answer["run"] == run_id and answer["lines"] == []
    assert more(page, "", SimpleNamespace())["lines"] == []


def test_output_is_read_from_where_the_browser_is(page, run, monkeypatch):
    path = log_path(page.home, run["job_id"])
    path.write_bytes(b"first\nloading  1%\rloading 100%\nnot who")
    first = ask(page, run, "output")
    assert texts(first) == ["first", "loading 100%"]
    assert ask(page, run, "output", first) is None
    with path.open("ab") as file:
        file.write(b"le\xff\n")
    second = ask(page, run, "output", first)
    assert texts(second) == ["not whole\ufffd"] and not second["reset"]
    monkeypatch.setattr(run_log, "_BYTES", 20)
    with path.open("ab") as file:
        file.write(b"x" * 50 + b"\n" + b"the end\n")
    third = ask(page, run, "output", second)
    assert texts(third) == ["the end"] and third["reset"]  # what lies between is too much
    path.write_bytes(b"")
    assert ask(page, run, "output", third)["reset"]


def test_the_page_is_told_how_runs_ended(page, run):
    page.store.add_event("plan", {"steps": 40}, run_id=run["id"])
    page.store.add_metrics(run["id"], 10, {"loss": 1.0})
    for _ in range(5):
        _, job_id = page.store.create_run("over", {}, "cpu")
        page.store.job_ended(job_id, "failed")
    news = frame.run_news(page)
    assert [item["state"] for item in news] == ["failed"] * 3 + ["running"]
    assert news[-1] == {"id": run["id"], "name": "a run", "state": "running", "share": "25%"}

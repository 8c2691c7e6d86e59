"""What the Train tab draws of runs, checkpoints, the queue and devices, and who may press its buttons."""

import json
import re
import time
from types import SimpleNamespace

import gradio as gr
import pytest

from studio import hardware
from studio.draft import DraftEditor
from studio.hardware import GB, Gpu, Hardware
from studio.home import Home
from studio.jobs import client
from studio.recipe import Recipe
from studio.store import Store
from studio.training import checkpoints
from studio.ui import device_picker, diagnosis_panel, queue_panel, train_tab
from studio.ui.checkpoint_panel import checkpoints_html, on_longer
from studio.ui.checkpoint_panel import on_press as press_checkpoint
from studio.ui.metric_feed import Feed
from studio.ui.page import Page
from studio.ui.run_log import samples_html
from studio.ui.run_status import recent_steps, status_html, time_left
from studio.words import Sentence, StudioError

HOSTILE = '<script>alert(1)</script> "name"'


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return Page(None, "en", DraftEditor(home, Store(home.database)), Feed(Store(home.database)))


def made(page, state="done", name=HOSTILE, rate=2e-4, losses=(), reason=None, result=None) -> dict:
    recipe = Recipe.model_validate({"training": {"learning_rate": rate}}).to_dict()
    run_id, job_id = page.store.create_run(name, recipe, "cpu")
    page.store.add_event("plan", {"steps": 40, "examples": 80}, run_id=run_id, job_id=job_id)
    for step, loss in enumerate(losses, 1):
        page.store.add_metrics(run_id, step, {"loss": loss, "seconds": 0.1})
    if state != "queued":
        page.store.job_started(job_id, 1, 1.0)
    if state not in ("queued", "running"):
        page.store.job_ended(job_id, state, reason.to_json() if reason else None, result)
    return page.store.run(run_id)


def kept(page, run, step, eval_loss=None):
    folder = checkpoints.checkpoint_folder(page.home.checkpoints(run["id"]), step)
    folder.mkdir(parents=True)
    (folder / "trainable.safetensors").write_bytes(b"x" * 2000)
    checkpoints.finish(folder, {"epoch": 1.5, "loss": 2.0, "eval_loss": eval_loss, "steps": 40})


def acts(html) -> list[str]:
    return re.findall(r'data-act="([\w-]+)"', html)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", ["queued", "running", "done", "stopped", "paused", "failed"])
def test_every_state_is_drawn_and_names_are_text(page, state, language):
    page.language = language
    reason = Sentence("The worker failed: {error}. The full report is in the log.", error="<b>x</b>")
    run = made(page, state, reason=reason if state == "failed" else None)
    html = status_html(page, run, {"steps": 40})
    assert "<script>" not in html and "<b>x" not in html
    wanted = {
        "queued": [],
        "running": ["finish", "discard"],
        "done": ["chat", "library", "report", "bug", "recipe", "again"],
    }.get(state, ["report", "bug", "recipe", "again"])
    assert acts(html) == wanted
    assert "<script>" not in queue_panel.runs_html(page, run["id"])


def test_nothing_is_offered_to_a_run_that_was_asked_already(page):
    run = made(page, "running")
    assert acts(status_html(page, run, None, "pause")) == [] and "Pausing" in status_html(page, run, None, "pause")


def test_the_list_of_checkpoints(page):
    run = made(page)
    kept(page, run, 20, 1.2)
    kept(page, run, 40, 1.4)
    found = checkpoints.listed(page.home.checkpoints(run["id"]))
    html = checkpoints_html(page, run, found)
    assert html.index("step 40") < html.index("step 20") and html.count("best</span>") == 1
    assert "2 checkpoints" in html and "The newest 2 and the best are kept." in html
    assert acts(html) == ["continue", "adapter", "delete"] * 2
    live = made(page, "running")
    assert checkpoints_html(page, live, found).count(" disabled ") == 1  # the newest, which the run needs
    press_checkpoint(page, run["id"], "delete", "20")
    assert [item.step for item in checkpoints.listed(page.home.checkpoints(run["id"]))] == [40]
    press_checkpoint(page, run["id"], "adapter", "40")
    job = page.store.latest_job(run["id"], "checkpoint")
    assert (
        job["payload"] == {"step": 40, "name": f"{HOSTILE} (step 40)"} and page.store.run(run["id"])["state"] == "done"
    )
    new, *_ = press_checkpoint(page, run["id"], "continue", "40")
    job = page.store.job(page.store.run(new)["job_id"])
    assert job["payload"]["from"] == {"run": run["id"], "step": 40} and job["payload"]["schedule"] is None
    with pytest.raises(StudioError, match="not kept any more"):
        press_checkpoint(page, run["id"], "continue", "20")


def test_longer_is_a_new_run_with_a_longer_recipe(page):
    run = made(page, name="n" * 120)
    with pytest.raises(StudioError, match="keeps no checkpoint"):
        on_longer(page, run["id"], 1, "rewarm")
    kept(page, run, 30)
    new = page.store.run(on_longer(page, run["id"], 2, "rewarm"))
    assert new["recipe"]["training"]["epochs"] == 5 and len(new["name"]) == 120 and new["name"].endswith(" (longer)")


def test_the_queue_is_drawn_in_its_order_with_its_buttons(page):
    made(page, "done", name="past")
    runs = [made(page, "queued", name=name) for name in "ab"]
    queue_panel.on_press(page, "first", str(runs[1]["job_id"]))
    html = queue_panel.runs_html(page, runs[0]["id"])
    assert html.index("1. b") < html.index("2. a") < html.index("past")
    assert html.count("disabled") == 3  # up and next of the first one, down of the last one
    queue_panel.on_press(page, "duplicate", str(runs[0]["job_id"]))
    assert [job["name"] for job in page.store.queue()] == ["b", "a", "a"]
    assert queue_panel.on_press(page, "remove", str(runs[1]["job_id"])) is not None
    with pytest.raises(StudioError, match="not waiting any more"):
        queue_panel.on_press(page, "up", str(runs[1]["job_id"]))


def test_time_left_looks_at_the_rows_of_its_own_run(page):
    run = made(page, "running", losses=[3.0] * 10)
    other = made(page, "running")
    for step in range(200):  # between the rows of the first run and now
        page.store.add_metrics(other["id"], step, {"loss": 1.0, "seconds": 0.1})
    page.store.add_metrics(run["id"], 11, {"loss": 2.0, "seconds": 0.1})
    assert time_left(recent_steps(page, {**run, "started": time.time() - 60}), 40) is not None


def test_time_left_says_how_sure_it_is_and_tokens_are_counted(page):
    run = made(page, "running")
    began = time.time() - 100
    with page.store.transaction() as db:
        for step in range(1, 41):  # of 1 s, but every second block of five steps takes twice as long
            began += 1 if step // 5 % 2 else 2
            values = {"loss": 1.0, "seconds": 1.0, "tokens": 300, "padding": 0.25}
            db.execute(
                'INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)',
                (run["id"], step, began, json.dumps(values)),
            )
    left = time_left(recent_steps(page, {**run, "started": began - 1000}), 140)
    assert 130 < left.seconds < 170 and 10 < left.margin < 60
    html = status_html(page, {**run, "started": began - 1000, "step": 40}, {"steps": 140})
    assert " left (" in html and "12,000 tokens seen · 300 a second · 25% padding" in html


def test_answers_are_a_filmstrip(page):
    answers = ["Hi", HOSTILE, HOSTILE]
    events = [
        {"data": {"prompt": "p", "expected": HOSTILE, "answer": answer, "step": step}}
        for step, answer in enumerate(answers, 1)
    ]
    html = samples_html(page, events)
    assert re.findall(r'<li class="(\w*)"', html) == ["", "", "same"] and "<script>" not in html
    assert html.index("step 1") < html.index("step 3") and html.count('class="right"') == 2


GPUS = tuple(Gpu(index, f"NVIDIA H{index}00", 80 * GB, (70 - index) * GB, (9, 0), "1") for index in range(2))


def test_devices_say_what_each_has_free_and_one_is_chosen(page, monkeypatch):
    assert device_picker.devices_html(page) == ""  # nothing to choose from
    monkeypatch.setattr(hardware, "machine", lambda: Hardware("CPU", 4, 32 * GB, 20 * GB, True, gpus=GPUS))
    page.store.create_run("a", {}, "cuda:0")
    html = device_picker.devices_html(page)
    assert re.findall(r'data-item="([\w:]+)" aria-pressed="(\w+)"', html) == [
        ("auto", "true"),
        ("cuda:0", "false"),
        ("cuda:1", "false"),
        ("cpu", "false"),
    ]
    assert "1 run waiting" in html and html.count(" free") >= 3
    assert client.choose_device(page.store, "auto") == "cuda:1"  # a run has a claim on the first one
    device_picker.choose(page, "cuda:0")
    assert page.editor.draft()["machine"]["device"] == "cuda:0"
    assert 'data-item="cuda:0" aria-pressed="true"' in device_picker.devices_html(page)


def test_the_remedy_is_started_or_put_on_the_desk(page):
    run = made(page, "done", rate=0.5, losses=[2 + step / 5 for step in range(30)])
    html = diagnosis_panel.diagnosis_html(page, run)
    assert acts(html) == ["mend", "mend-draft"] and "exploded" in html
    new = page.store.run(diagnosis_panel.start_mended(page, run, 0))
    assert new["state"] == "queued" and new["recipe"]["training"]["learning_rate"] < 0.1
    assert diagnosis_panel.mended(page, run, 0).to_dict() == new["recipe"]
    with pytest.raises(StudioError, match="does not apply any more"):
        diagnosis_panel.mended(page, run, 7)
    assert diagnosis_panel.diagnosis_html(page, made(page, "done", losses=[3 - step / 20 for step in range(30)])) == ""


def test_a_visitor_looks_and_changes_nothing(page, monkeypatch):
    run = made(page, "running")
    monkeypatch.setenv("SPACE_ID", "Ada/studio")
    for act in ("finish", "discard", "again", "recipe", "mend", "mend-draft", "report"):
        with pytest.raises(gr.Error, match="owner"):
            train_tab.on_press(page, run["id"], SimpleNamespace(act=act, item=run["id"]), None)
    assert page.store.latest_request(run["job_id"]) is None and len(page.store.runs()) == 1
    train_tab.on_press(page, run["id"], SimpleNamespace(act="library", item=""), None)


def test_metrics_and_progress_are_no_change_of_the_runs(page):
    """What follows the list of runs is not asked at every step of a run, but when one is added, named or ends."""
    seen = [page.store.revision("runs")]

    def changed() -> bool:
        seen.append(page.store.revision("runs"))
        return seen[-1] > seen[-2]

    run = made(page, "running")
    assert changed()
    page.store.add_metrics(run["id"], 1, {"loss": 1.0})
    page.store.job_doing(run["job_id"], Sentence("Training").to_json())
    page.store.job_ended(page.store.queue_job("export", {}), "done")
    assert not changed()
    page.store.change_run(run["id"], "another name", ["a tag"])
    assert changed()
    page.store.job_ended(run["job_id"], "done")
    assert changed()

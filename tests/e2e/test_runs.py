"""The life of runs on the page: paused, queued, moved, resumed, trained longer; a checkpoint made an adapter."""

import zipfile

import pytest

from studio.recipe import Recipe
from studio.training import checkpoints
from tests.conftest import until
from tests.e2e.pages import downloaded, open_studio, start, status, tab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TRAINING = {
    "learning_rate": 1e-3,
    "max_steps": 40,
    "batch_size": 2,
    "save_steps": 10,
    "evaluations": 0,
    "evaluation_rows": 0,
    "sample_prompts": 0,
}


# The browser's notices, kept instead of shown; nobody is asked before the button is pressed.
NOTICES = """() => {
  window.told = [];
  window.Notification = class {
    constructor(text) { told.push(text); }
    static permission = 'default';
    static async requestPermission() { return (Notification.permission = 'granted'); }
  };
}"""


def put_on_the_desk(studio, name, **training):
    recipe = Recipe.model_validate({"name": name, "data": {"source": "captain"}, "training": {**TRAINING, **training}})
    studio.store.set_note("draft", recipe.to_dict())


def run_named(studio, name):
    return next((run for run in studio.store.runs() if run["name"] == name), None)


def wait_for(studio, name, *states, seconds=180):
    return until(
        lambda: (run := run_named(studio, name)) and run["state"] in states and run,
        seconds,
        f"'{name}' does not become {states}",
    )


def press_in_queue(page, text, name):
    page.get_by_role("button", name=f"{text}: {name}", exact=True).click()


def test_a_run_is_paused_overtaken_resumed_and_trained_longer(studio, browser, tmp_path):
    put_on_the_desk(studio, "first", max_steps=4000)
    page = open_studio(studio, browser)
    tab(page, "Hyperparameters")
    page.locator("#training-form summary").click()
    page.locator("#training-form").get_by_label("TensorBoard").check()
    until(lambda: studio.store.note("draft")["training"]["trackers"] == ["tensorboard"], 20, "no tracker is chosen")
    tab(page, "Train")
    page.evaluate(NOTICES)
    page.get_by_role("button", name="Notify me when a run ends").click()
    page.locator("[data-notices][aria-pressed=true]").wait_for()
    start(page, studio)
    until(lambda: (run_named(studio, "first")["step"] or 0) > 12, 120, "the run does not get going")
    page.locator("[data-key=layer_gradients] .heatmaplayer").wait_for()
    page.wait_for_function("document.title.includes('% · first')")
    status(page, "tokens seen")
    page.locator("#log-part button").first.click()
    page.get_by_label("Search in the log").fill("started")
    page.locator("#log mark", has_text="Started").wait_for()
    for name in ("second", "third"):
        put_on_the_desk(studio, name)
        start(page, studio)

    # The queue: the third run overtakes the second one, which is duplicated; the copy is removed.
    page.locator("#runs .waiting li").nth(1).wait_for()
    press_in_queue(page, "Run next", "third")
    until(lambda: [job["name"] for job in studio.store.queue()] == ["third", "second"], 20, "it is not moved")
    press_in_queue(page, "Duplicate", "second")
    page.locator("#runs .waiting li").nth(2).wait_for()
    page.locator("#runs .waiting li").nth(2).get_by_role("button", name="Remove").click()
    until(lambda: [job["name"] for job in studio.store.queue()] == ["third", "second"], 20, "the copy is not removed")

    # Pause: the device goes to the next run; the paused one is shown as paused and goes on later.
    page.locator("#runs .show", has_text="first").click()
    page.wait_for_function("document.querySelector('#status').innerText.includes('first')")
    page.click("#pause")
    text = status(page, "Paused", seconds=60)
    assert "the device is free for others" in text
    wait_for(studio, "third", "running", "done")
    paused_at = run_named(studio, "first")["step"]
    wait_for(studio, "second", "done")
    page.click("#resume")
    status(page, "Running", seconds=60)
    until(lambda: run_named(studio, "first")["step"] > paused_at + 3, 60, "it does not go on")

    # End now: the adapter is made of what has been learnt.
    page.get_by_role("button", name="Stop and make the adapter").click()
    status(page, "Try it in Chat", seconds=120)
    first = run_named(studio, "first")
    assert first["step"] < 4000 and studio.store.adapter(first["id"])

    # How it ended stands in the title; what happened can be sent to somebody.
    page.wait_for_function("document.title.includes('✓ Done – first') && told.includes('✓ Done – first')")
    path = downloaded(page, page.locator("#status").get_by_role("button", name="Bug report (zip)"), tmp_path)
    assert "recipe.yaml" in zipfile.ZipFile(path).namelist()
    assert list((studio.home.root / "trackers" / "tensorboard" / first["id"]).glob("events.*"))

    # A checkpoint becomes an adapter of the library.
    page.locator("#checkpoints-part button").first.click()
    page.locator("#checkpoints").get_by_role("button", name="Make an adapter").first.click()
    page.locator("#checkpoints").get_by_role("button", name="Try it in Chat").first.wait_for(timeout=90_000)
    kept = checkpoints.listed(studio.home.checkpoints(first["id"]))
    made = studio.store.adapter(checkpoints.adapter_id(first["id"], kept[-1].step))
    assert made["name"] == f"first (step {kept[-1].step})"

    # Longer: a new run whose curve begins where the other one's does.
    page.fill("#longer-amount input", "5")
    page.click("#longer")
    longer = wait_for(studio, "first (longer)", "done")
    assert longer["step"] == first["step"] + 5
    page.wait_for_function("document.querySelector('#status').innerText.includes('first (longer)')")
    assert len(studio.store.metrics(longer["id"])) >= longer["step"]

    # One checkpoint is deleted, after the question.
    page.once("dialog", lambda dialog: dialog.accept())
    before = len(checkpoints.listed(studio.home.checkpoints(longer["id"])))
    page.locator("#checkpoints").get_by_role("button", name="Delete").last.click()
    until(lambda: len(checkpoints.listed(studio.home.checkpoints(longer["id"]))) == before - 1, 20, "it is not deleted")
    page.close()


def test_a_diagnosis_is_read_and_its_button_starts_the_mended_run(studio, browser):
    bad = {"learning_rate": 0.3, "lr_scheduler_type": "constant", "max_steps": 24, "batch_size": 4}
    put_on_the_desk(studio, "bad rate", **bad)
    page = open_studio(studio, browser)
    tab(page, "Train")
    start(page, studio)
    page.locator("#status .diagnosis").wait_for(timeout=120_000)
    wait_for(studio, "bad rate", "done", "failed")
    page.locator("#status .diagnosis").wait_for()
    assert "too high" in (text := page.inner_text("#status .diagnosis")) or "exploded" in text, text

    # On the desk first, to be looked at; then started.
    page.locator("#status").get_by_role("button", name="Put on the desk").first.click()
    until(lambda: studio.store.note("draft")["training"]["learning_rate"] < 0.1, 20, "the recipe is not on the desk")
    tab(page, "Train")
    page.locator("#status").get_by_role("button", name="Start again with").first.click()
    until(lambda: len([run for run in studio.store.runs() if run["name"] == "bad rate"]) == 2, 20, "it does not start")
    mended = wait_for(studio, "bad rate", "done")
    assert mended["recipe"]["training"]["learning_rate"] < 0.1
    status(page, "Try it in Chat", seconds=60)
    losses = [row["values"]["loss"] for row in studio.store.metrics(mended["id"]) if "loss" in row["values"]]
    assert losses[-1] < losses[0]
    page.close()

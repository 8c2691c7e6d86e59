"""The life of runs on the page: paused, queued, moved, resumed, trained longer; a checkpoint made an adapter; many
beside each other."""

import csv
import zipfile

import pytest

from studio.recipe import Recipe
from studio.search import overview, plan
from studio.training import checkpoints
from tests.conftest import until
from tests.e2e.pages import downloaded, open_studio, ready, start, status, tab

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
    page.locator("[data-key=layer_gradients]").scroll_into_view_if_needed()
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
    page.locator("#checkpoints").get_by_role("button", name="Try it in Chat").first.wait_for()
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
    page.locator("#status .diagnosis").wait_for()
    wait_for(studio, "bad rate", "done", "failed")
    page.locator("#status .diagnosis").wait_for()
    assert "too high" in (text := page.inner_text("#status .diagnosis")) or "exploded" in text, text

    # Loaded as the draft first, to be looked at; then started.
    page.locator("#status").get_by_role("button", name="Load the recipe with").first.click()
    until(lambda: studio.store.note("draft")["training"]["learning_rate"] < 0.1, 20, "the recipe is not the draft")
    tab(page, "Train")
    page.locator("#status").get_by_role("button", name="Start again with").first.click()
    until(lambda: len([run for run in studio.store.runs() if run["name"] == "bad rate"]) == 2, 20, "it does not start")
    mended = wait_for(studio, "bad rate", "done")
    assert mended["recipe"]["training"]["learning_rate"] < 0.1
    status(page, "Try it in Chat", seconds=60)
    losses = [row["values"]["loss"] for row in studio.store.metrics(mended["id"]) if "loss" in row["values"]]
    assert losses[-1] < losses[0]

    # The same kind of mistake in a run that may adapt: it goes back by itself, and says so in three places.
    put_on_the_desk(studio, "adapts", **{**bad, "learning_rate": 3.0, "evaluations": 2})
    page.reload()
    ready(page)
    tab(page, "Hyperparameters")
    page.locator("#training-form summary").click()
    page.locator("#training-form").get_by_label("Adapt while learning").check()
    until(lambda: studio.store.note("draft")["training"].get("adapt"), 20, "it is not switched on")
    tab(page, "Train")
    start(page, studio)
    page.locator("#status .adapted li", has_text="Back to the state after step").first.wait_for(timeout=60_000)
    wait_for(studio, "adapts", "done")
    page.wait_for_function(
        "document.querySelector('[data-key=loss] .lp-plot')?.data?.some(trace => trace.uid === 'adapted_fall_back')"
    )
    page.locator("#log-part button").first.click()
    page.get_by_label("Search in the log").fill("Back to the state")
    page.locator("#log mark").first.wait_for()
    page.close()


def test_better_settings_are_searched_and_used(studio, browser):
    put_on_the_desk(studio, "", max_steps=6, evaluations=3)
    page = open_studio(studio, browser)
    tab(page, "Train")
    page.locator("#search button").first.click()
    page.locator("#search-space label", has_text="Rank and learning rate").last.click()
    high = page.locator("#search-ranges").get_by_label("Rank r, to")
    high.fill("1")
    page.locator("#search-plan .notice", has_text="The second must be greater").wait_for()
    high.fill("16")
    page.fill("#search-tries input", "3")
    page.locator("#search-plan", has_text="Up to 3 tries").wait_for()
    page.click("#search-start")
    page.locator("#search-board .search-tries tbody tr").nth(2).wait_for(timeout=90_000)
    board = page.locator("#search-board")
    board.get_by_text("rows that no try has seen").first.wait_for(timeout=90_000)
    page.locator("#search-board .run-head .badge", has_text="Done").wait_for()
    board.get_by_role("button", name="Use these settings").click()
    (search,) = plan.listed(studio.home)
    best = overview.overview(studio.home, studio.store, plan.read(studio.home, search)).best
    rate = best.values["training.learning_rate"]
    until(lambda: studio.store.note("draft")["training"]["learning_rate"] == rate, 20, "they are not used")
    assert studio.store.note("draft")["method"]["rank"] == best.values["method.rank"] <= 16
    assert studio.store.note("draft")["data"]["source"] == "captain"
    page.close()


def test_runs_are_compared_tagged_and_deleted_and_a_ready_comparison_lands_among_them(studio, browser, tmp_path):
    put_on_the_desk(studio, "", max_steps=3)
    ids = [made_run(studio, f"curve {rate}", rate) for rate in (1e-3, 2e-3)]
    page = open_studio(studio, browser)
    tab(page, "Train")
    page.fill("#compare-search textarea, #compare-search input", "curve")
    page.wait_for_function("document.querySelectorAll('#compare-list li').length === 2")
    page.locator("#compare-list [data-act=pick-all]").click()
    page.locator("#compare-plot .scatterlayer .trace").nth(1).wait_for()
    table = page.inner_text("#compare-table")
    assert "method" not in table and "0.001" in table and "0.002" in table and "(training.learning_rate)" in table
    page.locator("#compare-plot select[name=axis]").select_option("tokens")
    page.wait_for_function("document.querySelector('.run-curves').dataset.drawn === 'loss tokens 2'")
    path = downloaded(page, page.locator("#compare-rows"), tmp_path)
    lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    stored = [row["values"]["loss"] for run in reversed(ids) for row in studio.store.metrics(run)]
    assert [float(line["loss"]) for line in lines] == stored

    # One alone is named and tagged; the tag finds it; the other one is deleted after the question.
    page.locator(f"#compare-list [data-pick='{ids[1]}']").uncheck()
    page.wait_for_function(
        "document.querySelector('#compare-name textarea, #compare-name input')?.value === 'curve 0.001'"
    )
    page.fill("#compare-name textarea, #compare-name input", "curve, the good one")
    page.fill("#compare-tags textarea, #compare-tags input", "good, 好")
    page.click("#compare-save")
    page.locator("#compare-list [data-act=tag][data-item=好]").click()
    page.wait_for_function("document.querySelectorAll('#compare-list li').length === 1")
    assert studio.store.run(ids[0])["name"] == "curve, the good one" and studio.store.run(ids[0])["tags"] == [
        "good",
        "好",
    ]
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#compare-list [data-act=delete]").click()
    until(lambda: studio.store.run(ids[0]) is None, 20, "it is not deleted")
    assert studio.store.run(ids[1])

    # A ready-made comparison: chosen, announced, started, and picked for comparison under its tag.
    page.fill("#compare-search textarea, #compare-search input", "")
    page.locator("#ready-comparisons button").first.click()
    page.locator("#ready-cards [data-item=schedule]").click()
    page.locator("#ready-plan li").nth(5).wait_for()
    page.locator("#ready-seeds").get_by_text("1", exact=True).click()
    page.wait_for_function("document.querySelectorAll('#ready-plan li').length === 3")
    page.click("#ready-start")
    page.locator("#compare-table tbody tr").nth(2).wait_for()
    runs = studio.store.runs(3)
    assert {tuple(run["tags"]) for run in runs} == {(page.input_value("#compare-tag input"),)}
    assert {run["recipe"]["training"]["lr_scheduler_type"] for run in runs} == {"cosine", "linear", "constant"}
    page.close()


def made_run(studio, name, rate):
    """A finished run with a curve, as another window would have made it; returns its id."""
    recipe = Recipe.model_validate({"training": {"learning_rate": rate}}).to_dict()
    run_id, job_id = studio.store.create_run(name, recipe, "cpu")
    studio.store.job_started(job_id, 1, 1.0)
    for step in range(1, 6):
        studio.store.add_metrics(run_id, step, {"loss": rate / 3 + 1 / step, "tokens": 100, "seconds": 0.1})
    studio.store.job_ended(job_id, "done", None, {"metrics": {"eval_loss": rate}})
    return run_id

"""The live plot in a real browser over a real store: bytes, zoom, spikes, resumed runs, the table and the file."""

import json
import math
import threading
import time

import gradio as gr
import pytest

from studio.store import Store
from studio.training import layer_norms
from studio.ui.live_plot import METRICS, LivePlot, answer, layer_rows, translated_charts
from studio.ui.metric_feed import Feed


def values(step):
    found = {
        "loss": 0.4 + 2 * math.exp(-step / 80) + (step * 7919 % 101) / 500,
        "learning_rate": 1e-4 * (1 + math.cos(step / 4e4)),
        "gradient_norm": 1 + (step * 104729 % 997) / 997,
        "tokens_per_second": 3000 + step * 31 % 397,
        "padding": step * 7 % 31 / 100,
        "memory_allocated": 912_345_678 + step * 4096 % 131072,
        "memory_reserved": 1.31e9,
        "memory_device": 1.92e9 + step % 7,
    }
    return found | ({"eval_loss": 0.5 + 2 * math.exp(-step / 80)} if step % 20 == 0 else {})


def fill(store, run, first, last, seconds=0.1, change=values):
    rows = [(run, step, 1e9 + step * seconds, json.dumps(change(step))) for step in range(first, last + 1)]
    with store.transaction() as db:
        db.executemany('INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)', rows)


class Growing:
    """A run that takes `speed` steps a second while the block lasts."""

    def __init__(self, store, run, first, speed):
        self._args, self._over = (store, run, first, speed), threading.Event()
        self._thread = threading.Thread(target=self._grow, daemon=True)

    def _grow(self):
        store, run, step, speed = self._args
        while not self._over.wait(1 / speed):
            store.add_metrics(run, step, values(step))
            step += 1

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("plot") / "studio.sqlite3")


@pytest.fixture(scope="module")
def address(serve, store):
    with gr.Blocks(analytics_enabled=False) as demo:
        run = gr.Textbox(label="run id")
        plot = LivePlot(Feed(store), folder=lambda run: store.path.parent / run)
        run.submit(lambda text: text, run, plot, queue=False)
    return serve(demo)


@pytest.fixture(scope="module")
def page(browser, address):
    """One page for all: loading Plotly is the longest part."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    errors = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.locator(".lp-empty").wait_for()
    yield page
    context.close()
    assert not errors


def show(page, run, charts=6):
    page.get_by_label("run id").fill(run)
    page.get_by_label("run id").press("Enter")
    if charts:
        page.locator(f'.live-plot[data-drawn="{run}"]').wait_for()
        page.wait_for_function(
            "count => document.querySelectorAll('.lp-card .lp-plot .scatterlayer').length === count", arg=charts
        )


def drawn(page, chart="loss", trace=0):
    """The points that Plotly holds: {"x": [...], "y": [...]}."""
    return page.evaluate(
        "([key, i]) => { const {x, y} = document.querySelector(`[data-key=${key}] .lp-plot`).data[i]; "
        "return {x: [...x], y: [...y]}; }",
        [chart, trace],
    )


# ---- what the server function answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        {},
        {"run": 7},
        {"run": "x" * 999},
        {"run": "nobody", "have": [1], "epoch": "?"},
        {"run": "nobody", "have": {"loss": "x"}},
    ],
)
def test_whatever_is_asked_is_answered_without_an_error(store, request_):
    assert answer(Feed(store), request_)["series"] == {}


def test_only_metrics_that_are_drawn_are_sent(store):
    fill(store, "extra", 1, 3, change=lambda step: {"loss": 1.0, "another": 2.0})
    assert list(answer(Feed(store), {"run": "extra"})["series"]) == ["loss"]
    assert len(METRICS) == len(set(METRICS))


def test_units_are_those_of_the_run_s_task(store):
    def units(task, language="en"):
        run, _ = store.create_run("test", {"task": task}, "cpu")
        return answer(Feed(store), {"run": run}, language)["units"]

    assert units({"name": "chat"}) == units({"name": "text"}) == {"loss": "nats per token", "speed": "tokens/s"}
    assert (
        units({"name": "image"}) == {"loss": "nats per example", "speed": "patches/s"} != units({"name": "image"}, "zh")
    )
    assert (
        units({"name": "classification"})["loss"] == "nats per example"
        and units({"name": "classification", "multi_label": True})["loss"]
        == units({"name": "multitask"})["loss"]
        == "nats per label"
    )
    assert units({"name": "preference"})["loss"] == "per example"


def test_what_was_planned_is_sent_once(store):
    run, _ = store.create_run("test", {"training": {"keep_best_checkpoint": True}}, "cpu")
    fill(store, run, 1, 3)
    store.add_event("plan", {"memory": 5}, run_id=run)
    store.add_event("schedule", {"points": [[1, 0.5], [9, 0.1]]}, run_id=run)
    feed = Feed(store)
    first = answer(feed, {"run": run})
    outline = first["outline"]
    assert first["best"] and (outline["schedule"], outline["memory"]) == ([[1, 0.5], [9, 0.1]], 5)
    asked = {"run": run, "epoch": first["epoch"], "have": {}, "outline": outline["id"]}
    assert not {"outline", "best"} & set(answer(feed, asked))
    assert feed.tokens(run) == (0, 0)  # of rows without tokens


def test_only_new_norms_of_layers_are_sent(tmp_path):
    rows = [{"step": step, "gradient": [1.0], "weight": [2.0]} for step in (2, 4, 6)]
    (tmp_path / layer_norms.FILE).write_text("".join(json.dumps(row) + "\n" for row in ({"layers": ["0"]}, *rows)))

    def ask(**request):
        return layer_rows(lambda run: tmp_path, request)

    assert ask(run="r", count=0, last=0) == {"layers": ["0"], "rows": rows}
    assert ask(run="r", count=2, last=4) == {"rows": rows[2:]} and ask(run="r", count=3, last=6) == {"rows": []}
    assert ask(run="r", count=2, last=2)["layers"] == ["0"]  # rows were left out meanwhile
    assert (
        ask(run=7) == ask() == layer_rows(None, {"run": "r"}) == layer_rows(lambda run: tmp_path / "no", {"run": "r"})
    )


def test_units_are_said_once(store):
    fill(store, "once", 1, 3)
    feed = Feed(store)
    first = answer(feed, {"run": "once"})
    assert "units" in first and "units" not in answer(feed, {"run": "once", "epoch": first["epoch"], "have": {}})


def test_titles_are_said_in_the_language():
    assert translated_charts("zh")[0]["title"] == "损失"


# ---- in the browser --------------------------------------------------------------------------------------------------


def test_without_a_run_there_is_a_sentence(page):
    assert page.locator(".lp-empty").inner_text() == "The curves appear here as soon as a run has taken its first step."
    assert page.locator(".lp-card").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("before, speed", [(0, 10), (30_000, 25)], ids=["short run", "long run"])
def test_a_viewer_costs_at_most_two_kilobytes_a_second_and_keeps_the_zoom(page, store, before, speed):
    run = f"bytes-{before}"
    fill(store, run, 1, before + 5, seconds=1 / speed)
    show(page, run)
    page.wait_for_function("() => !document.querySelector('.lp-status').textContent")  # the preview has given way
    page.evaluate("() => Plotly.relayout(document.querySelector('[data-key=loss] .lp-plot'), {'xaxis.range': [2, 4]})")
    sizes = []
    page.on(
        "requestfinished", lambda request: sizes.append(request.sizes()) if "component_server" in request.url else None
    )
    with Growing(store, run, before + 6, speed):
        page.wait_for_timeout(1000)
        sizes.clear()
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < 5 or (len(sizes) < 4 and seconds < 60):
            page.wait_for_timeout(200)
        measured = list(sizes)
    down = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in measured) / seconds
    up = sum(size["requestBodySize"] for size in measured) / seconds
    print(f"{len(measured)} answers: {down:.0f} B/s down with headers, {up:.0f} B/s of questions")
    assert len(measured) >= 4
    assert down + up <= 2000
    assert max(drawn(page)["x"]) > before + 5 + 3 * speed  # … and the curve did grow
    shown = page.evaluate("() => document.querySelector('[data-key=loss] .lp-plot')._fullLayout.xaxis.range")
    assert [round(end, 3) for end in shown] == [2, 4]


@pytest.mark.slow
def test_a_spike_reaches_the_screen_and_the_viewer_that_merged_sees_what_a_newcomer_sees(
    page, open_page, address, store
):
    fill(store, "spike", 1, 1500)
    show(page, "spike")
    fill(
        store,
        "spike",
        1501,
        20_000,
        change=lambda step: values(step) | ({"gradient_norm": 98.75} if step == 12_345 else {}),
    )
    page.wait_for_function(
        "() => document.querySelector('[data-key=gradient_norm] .lp-plot').data[0].x.at(-1) === 20000"
    )
    curve = drawn(page, "gradient_norm")
    assert dict(zip(curve["x"], curve["y"], strict=True))[12_345] == 98.75
    assert curve["x"] == sorted(curve["x"]) and len(curve["x"]) <= 2050
    newcomer = open_page(address)
    show(newcomer, "spike")
    assert drawn(newcomer, "gradient_norm") == curve


def test_a_resumed_run_is_drawn_without_the_lost_steps(page, store):
    fill(store, "resumed", 1, 100, change=lambda step: {"loss": 9.0 if step > 60 else 1.0})
    show(page, "resumed", charts=1)
    assert max(drawn(page)["y"]) == 9
    store.forget_metrics_after("resumed", 60)
    fill(store, "resumed", 61, 80, change=lambda step: {"loss": 2.0}, seconds=0.2)
    page.wait_for_function("() => document.querySelector('[data-key=loss] .lp-plot').data[0].x.at(-1) === 80")
    assert set(drawn(page)["y"]) == {1, 2}


def test_every_chart_has_its_data_as_a_table_and_a_file(page, store):
    fill(store, "table", 1, 40)
    show(page, "table")
    card = page.locator("[data-key=loss]")
    card.get_by_role("button", name="Table / CSV").click()
    assert card.locator("thead th").all_inner_texts() == [
        "step",
        "training (nats per token)",
        "validation (nats per token)",
    ]
    assert card.locator("tbody tr").first.locator("td").first.inner_text() == "40"
    with page.expect_download() as download:
        card.get_by_role("button", name="Download CSV").click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert download.value.suggested_filename == "table-loss.csv"
    assert len(lines) == 41 and lines[20].split(",")[0] == "20" and lines[20].split(",")[2] != ""
    card.get_by_role("button", name="Chart").click()
    assert card.locator(".lp-plot").is_visible()
    assert "training" in card.locator(".lp-plot").get_attribute("aria-label")


def test_another_task_s_run_has_other_units(page, store):
    for task, unit in (("image", "nats per example"), ("chat", "nats per token")):
        run, _ = store.create_run("test", {"task": {"name": task}}, "cpu")
        fill(store, run, 1, 30)
        show(page, run)
        assert page.locator("[data-key=loss] .lp-unit").inner_text() == f"({unit})"


@pytest.mark.slow
def test_marks_plans_and_layers_are_drawn_and_a_reload_keeps_zoom_and_axis(page, address, store):
    run, _ = store.create_run("test", {"training": {"keep_best_checkpoint": True}}, "cpu")
    store.add_metrics(run, 0, {"memory_load": 7e8})
    fill(
        store, run, 1, 40, change=lambda step: values(step) | {"memory_checkpoint": 9e8} if step == 20 else values(step)
    )
    store.add_event("plan", {"memory": 1_100_000_000}, run_id=run)
    store.add_event("schedule", {"points": [[step, 2e-4] for step in (1, 30, 60, 90)]}, run_id=run)
    folder = store.path.parent / run
    folder.mkdir()
    rows = [{"step": step, "gradient": [1.0, 2.0], "weight": [2.0, 3.0]} for step in (2, 4)]
    text = "".join(json.dumps(row) + "\n" for row in ({"layers": ["0", "head"]}, *rows))
    (folder / layer_norms.FILE).write_text(text)
    show(page, run, charts=0)
    page.locator("[data-key=layer_weights] .heatmaplayer").wait_for()
    traces = page.evaluate(
        "() => Object.fromEntries(['loss', 'memory', 'learning_rate', 'layer_gradients'].map(key => [key, "
        "document.querySelector(`[data-key=${key}] .lp-plot`).data.map(({ name, x, y }) => [name, [...x], [...y]])]))"
    )
    assert traces["loss"][-1][:2] == ["best checkpoint", [40]]
    marks = {name: (x, y) for name, x, y in traces["memory"]}
    assert marks["model loaded"] == ([0], [pytest.approx(0.7)]) and marks["checkpoint"][0] == [20]
    assert marks["forecast"] == ([0, 40], pytest.approx([1.1, 1.1]))
    assert traces["learning_rate"][-1] == ["planned", [60, 90], [2e-4, 2e-4]]
    assert traces["layer_gradients"][0][1:] == [[2, 4], ["0", "head"]]
    card = page.locator("[data-key=layer_weights]")
    card.get_by_role("button", name="Table / CSV").click()
    assert card.locator("thead th").all_inner_texts() == ["step", "layer 0", "layer head"]
    loss = page.locator("[data-key=loss]")
    loss.get_by_role("button", name="Log").click()
    page.evaluate("() => Plotly.relayout(document.querySelector('[data-key=loss] .lp-plot'), {'xaxis.range': [2, 4]})")
    loss.locator(".lp-plot").hover()
    with page.expect_download() as download:
        loss.get_by_role("button", name="Picture (SVG)").click()
    assert download.value.suggested_filename == f"{run}-loss.svg" and "<svg" in download.value.path().read_text()
    page.reload()
    page.locator(".lp-empty").wait_for()
    show(page, run)
    kept = page.evaluate(
        "() => { const { xaxis: x, yaxis: y } = document.querySelector('[data-key=loss] .lp-plot')."
        "_fullLayout; return [x.range, y.type]; }"
    )
    assert kept == [[2, 4], "log"]
    loss.get_by_role("button", name="Log").click()


def test_another_run_replaces_the_curves_and_hidden_pages_do_not_ask(page, store):
    fill(store, "first", 1, 30)
    fill(store, "second", 1, 30, change=lambda step: {"loss": 5.0})
    show(page, "first")
    show(page, "second", charts=1)
    assert set(drawn(page)["y"]) == {5}
    asked = []
    page.evaluate("() => document.querySelector('.live-plot').style.display = 'none'")
    page.wait_for_timeout(300)
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    page.evaluate("() => document.querySelector('.live-plot').style.display = ''")
    page.wait_for_timeout(500)
    assert asked

"""Many runs beside each other: curves, differences, ranks, means, CSV, search, deletion, against the stored rows."""

import csv
import io
import itertools
import json
import math
import sqlite3

import numpy as np
import pytest

from studio.home import Home
from studio.recipe import Recipe
from studio.runs import export, removal, search
from studio.runs.comparison import compare
from studio.runs.curves import BUCKETS, Curves, RunCurves, keep, thinned
from studio.runs.search import Query
from studio.store import Store
from studio.words import StudioError


def made(store, name, steps=0, *, recipe=None, state="done", metrics=None, start=3.0, tags=()):
    """A run with `steps` rows of metrics and an evaluation at each tenth; returns its id."""
    values = Recipe.model_validate(recipe or {}).to_dict()
    run_id, job_id = store.create_run(name, values, "cpu")
    store.change_run(run_id, name, list(tags))
    with store.transaction():
        for step in range(1, steps + 1):
            loss = start / step + (100.0 if step == 777 else 0.0)
            store.add_metrics(run_id, step, {"loss": loss, "tokens": 10 + step % 3, "seconds": 0.5})
            if step % 10 == 0:
                store.add_metrics(run_id, step, {"eval_loss": loss / 2, "epoch": step / 100})
    if state != "queued":
        store.job_started(job_id, 1, 1.0)
    if state not in ("queued", "running"):
        store.job_ended(job_id, state, None, {"metrics": metrics or {}})
    return run_id


# ---- curves -----------------------------------------------------------------------------------------------------


def test_a_thinned_curve_keeps_the_ends_and_the_extremes_of_every_part():
    draw = np.random.default_rng(0)
    points = np.stack([np.arange(1.0, 50_001), np.arange(50_000.0), np.arange(50_000.0), draw.normal(size=50_000)])
    points[3, 31_234] = 99.0
    found = thinned(points)
    assert found.shape[1] <= 2 * BUCKETS + 2
    assert (found[:, [0, -1]] == points[:, [0, -1]]).all() and found[3].max() == 99.0
    assert (np.diff(found[0]) > 0).all()
    known = set(map(tuple, points.T))
    assert all(tuple(point) in known for point in found.T)  # points as recorded, none invented
    for low in np.linspace(1, 50_000, BUCKETS + 1)[:-1:50]:
        part = points[:, (points[0] >= low) & (points[0] < low + 49_999 / BUCKETS)]
        assert {part[3].min(), part[3].max()} <= set(found[3])
    assert (thinned(points[:, :100]) == points[:, :100]).all()


def test_curves_have_the_stored_values_by_step_tokens_and_time(home, store):
    run = RunCurves(home, store, made(store, "a", 30))
    assert run.read()
    rows = [row for row in store.metrics(store.latest_run()["id"]) if "loss" in row["values"]]
    tokens = list(itertools.accumulate(row["values"]["tokens"] for row in rows))
    expected = [
        [row["step"] for row in rows],
        tokens,
        [0.5 * at for at in range(1, 31)],
        [r["values"]["loss"] for r in rows],
    ]
    assert run.curves["loss"].points.tolist() == expected
    assert run.curves["eval_loss"].points[1].tolist() == [tokens[9], tokens[19], tokens[29]]
    assert set(run.curves) == {"loss", "eval_loss"}


def test_what_was_kept_is_read_no_more_and_later_rows_are_added(home, store, monkeypatch):
    run_id = made(store, "a", 1500)
    home.run(run_id).mkdir()
    keep(home, store, run_id)
    whole = RunCurves(Home(home.root), store, "other")
    assert not whole.curves and whole.read()
    asked = []
    real = Store.raw
    monkeypatch.setattr(Store, "raw", lambda self, sql, *values: asked.append(real(self, sql, *values)) or asked[-1])
    again = RunCurves(home, store, run_id)
    store.add_metrics(run_id, 1501, {"loss": math.nan})
    store.add_metrics(run_id, 1502, {"loss": 0.25, "tokens": 7, "seconds": 1.0})
    assert again.read() and sum(map(len, asked)) == 3  # the last row known, and the two new ones
    last = again.curves["loss"].points[:, -1]
    assert last.tolist() == [1502, 10 * 1500 + 1500 + 7, 751.0, 0.25]
    assert again.curves["loss"].points[3].max() == pytest.approx(100 + 3 / 777)  # the spike of step 777


def test_a_resumed_run_is_read_anew_and_a_damaged_file_is_replaced(home, store):
    run_id = made(store, "a", 50)
    home.run(run_id).mkdir()
    keep(home, store, run_id)
    store.forget_metrics_after(run_id, 20)
    for step in range(21, 40):  # SQLite gives them the ids of the rows that were deleted
        store.add_metrics(run_id, step, {"loss": 9.0})
    run = RunCurves(home, store, run_id)
    run.read()
    assert run.curves["loss"].points[0].tolist() == list(range(1, 40)) and run.curves["loss"].points[3, -1] == 9.0
    path = home.run(run_id) / "curves.npz"
    path.write_bytes(path.read_bytes()[:300])
    run = Curves(home, store).of(run_id)
    assert run.read() and run.curves["loss"].points.shape == (4, 39)
    run.save()
    assert RunCurves(home, store, run_id).curves["loss"].points.shape == (4, 39)


# ---- comparison -------------------------------------------------------------------------------------------------


def lora(rank, seed):
    return {"method": {"name": "lora", "rank": rank}, "training": {"seed": seed}}


def measured(value):
    return {
        "exact_match": value,
        "base_exact_match": 0.1,
        "intervals": {"exact_match": {"fine_tuned": [value - 0.1, 1]}},
    }


def test_ranks_differences_and_means_over_seeds(store):
    ids = {
        (rank, seed): made(store, f"r{rank}", 3, recipe=lora(rank, seed), metrics=measured(value))
        for (rank, seed), value in {(8, 1): 0.5, (8, 2): 0.7, (16, 1): 0.8, (16, 2): 0.8}.items()
    }
    waiting = made(store, "waiting", recipe=lora(16, 3), state="queued")
    found = compare(store, [waiting, *ids.values(), "gone"])
    assert found.by == "exact_match" and found.ranks == [1, 1, 3, 4, None]
    assert [run["id"] for run in found.runs][2:] == [ids[8, 2], ids[8, 1], waiting]
    assert found.names == ["r16", "r16 (2)", "r8", "r8 (2)", "waiting"]
    assert found.recipe == {("method", "rank"): [16, 16, 8, 8, 16], ("training", "seed"): [1, 2, 2, 1, 3]}
    assert found.results["exact_match"][2].interval == pytest.approx([0.6, 1]) and found.results["loss"][0].value == 1.0
    best, worse = found.groups
    assert best.recipe == {("method", "rank"): 16} and len(best.runs) == 3
    mean = best.means["exact_match"]
    assert (mean.value, mean.interval, mean.count) == (0.8, None, 2)  # equal values say nothing of their spread
    mean = worse.means["exact_match"]  # t(1) · s / √2 = 12.706 · 0.1, cut at 0 and 1
    assert mean.value == pytest.approx(0.6) and mean.interval == (0.0, 1.0)


def test_lower_losses_rank_first_and_a_broken_run_last(store):
    ids = [made(store, "a", 4, start=start) for start in (8.0, 4.0)]
    broken = made(store, "broken", 2, state="failed")
    store.add_metrics(broken, 3, {"loss": math.nan})
    found = compare(store, [broken, *ids], "loss")
    assert [run["id"] for run in found.runs] == [ids[1], ids[0], broken] and found.ranks == [1, 2, None]
    assert found.recipe == {} and found.groups[0].means.get("loss") is None
    with pytest.raises(StudioError, match="at least two"):
        compare(store, [broken, broken])
    with pytest.raises(StudioError, match="not by 'beauty'"):
        compare(store, ids, "beauty")


def test_the_csv_has_every_row_of_the_store_in_full_precision(home, store, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "_ROWS", 7)
    ids = [made(store, 'a, "quoted"\nname', 25, start=1 / 3), made(store, "b", 12)]
    rows = list(csv.DictReader(io.StringIO(text := "".join(export.metrics_csv(home, store, ids)))))
    stored = [(run, row) for run in ids for row in store.metrics(run)]
    assert len(rows) == len(stored)
    for line, (run, row) in zip(rows, stored, strict=True):
        assert (line["run"], int(line["step"]), float(line["time"])) == (run, row["step"], row["time"])
        assert {k: float(v) for k, v in line.items() if v and k not in ("run", "name", "step", "time")} == row["values"]
    export.write_metrics(home, ids, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes().decode("utf-8-sig") == text
    with pytest.raises(StudioError, match="could not be written"):
        export.write_metrics(home, ids, tmp_path / "no folder" / "rows.csv")
    found = compare(store, ids)
    table = list(csv.DictReader(io.StringIO(export.table_csv(found))))
    assert [float(line["loss"]) for line in table] == [metric.value for metric in found.results["loss"]]
    assert json.loads(json.dumps(export.as_dict(found)))["runs"][0]["id"] == table[0]["run"]


# ---- find, tag, delete --------------------------------------------------------------------------------------------


def test_runs_are_found_by_words_tag_method_and_state(store):
    ids = {
        "a": made(store, "Captain one", recipe=lora(8, 1), tags=["Über uns", "x"]),
        "b": made(store, "Captain two", recipe={"method": {"name": "bitfit"}}, state="failed"),
        "c": made(store, "Other", recipe={"data": {"source": "tickets"}}, state="queued", tags=["x"]),
    }

    def names(**query):
        return {key for run in search.matching(store, Query(**query)) for key, value in ids.items() if value == run}

    assert names() == {"a", "b", "c"} and search.matching(store, Query())[0] == ids["c"]
    assert (
        names(words="CAPTAIN") == {"a", "b"}
        and names(words="captain über") == {"a"}
        and names(words="tickets") == {"c"}
    )
    assert names(tag="X") == {"a", "c"} and names(method="bitfit") == {"b"} and names(state="queued", tag="x") == {"c"}
    assert search.choices(store) == {
        "tag": ["x", "Über uns"],
        "method": ["bitfit", "lora"],
        "state": ["done", "failed", "queued"],
    }


def test_a_deleted_run_leaves_nothing_but_its_adapter(home, store):
    run, other = made(store, "a", 5), made(store, "b", 5)
    home.checkpoints(run).mkdir(parents=True)
    store.add_event("log", {}, run_id=run)
    store.command(store.run(run)["job_id"], "stop")
    store.add_adapter(run, "a", run, {})
    removal.delete(home, store, [run, "gone"])
    assert store.run(run) is None and not store.metrics(run) and not store.events(run) and not home.run(run).exists()
    assert not store.select("SELECT * FROM commands") and store.adapter(run)
    assert len(store.metrics(other)) == 5


def test_a_run_in_use_is_not_deleted_nor_are_those_picked_with_it(home, store):
    run, waiting = made(store, "a", 2), made(store, "busy", state="queued")
    for message in ("'busy' is waiting or running", "'a' is still being worked on", "'a' is being continued"):
        with pytest.raises(StudioError, match=message):
            removal.delete(home, store, [run, waiting])
        assert store.run(run) and len(store.metrics(run)) == 2
        for job in store.jobs("queued"):
            store.job_ended(job["id"], "stopped")
        if "busy" in message:
            store.queue_job("export", {}, run_id=run)
        else:
            store.create_run("longer", {}, "cpu", {"from": {"run": run, "step": 1}})


def test_a_database_of_an_earlier_version_gets_the_tags(tmp_path):
    path = tmp_path / "old.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE runs(id TEXT PRIMARY KEY, name TEXT NOT NULL, recipe TEXT NOT NULL, created REAL NOT NULL)"
        )
        db.execute("INSERT INTO runs VALUES('old', 'Old', '{}', 1.0)")
    db.close()
    store = Store(path)
    store.queue_job("train", {}, run_id="old")
    assert store.run("old")["tags"] == []
    store.change_run("old", "New", ["good"])
    assert Store(path).run("old")["tags"] == ["good"] and store.run("old")["name"] == "New"

"""Envelopes never lose a spike, stay bounded, and give a viewer exactly what it lacks."""

import json
import math
import random
import time

import pytest

from studio.store import Store
from studio.ui import metric_feed as module
from studio.ui.metric_feed import CAPACITY, Envelope, Feed


class Viewer:
    """What live_plot.js does with the answers, in Python."""

    def __init__(self):
        self.n = self.d = 0
        self.buckets = []

    def take(self, change):
        while self.d < change["d"]:
            pairs = [self.buckets[i : i + 2] for i in range(0, len(self.buckets), 2)]
            self.buckets = [self._merged(sum(pair, [])) for pair in pairs]
            self.d += 1
        del self.buckets[change["f"] :]
        x = 0
        for flat in change["b"]:
            bucket = []
            for i in range(0, len(flat), 2):
                x += flat[i]
                bucket.append((x, flat[i + 1]))
            self.buckets.append(bucket)
        self.n = change["n"]

    @staticmethod
    def _merged(points):
        if len(points) < 2:
            return points
        low, high = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
        return [low] if low is high else sorted([low, high], key=points.index)


def fill(store, run, first, last, values=None, seconds=0.1):
    """Rows as a training run writes them, at one go."""
    rows = [
        (run, step, 1000 + step * seconds, json.dumps(values(step) if values else {"loss": 1 / step}))
        for step in range(first, last + 1)
    ]
    with store.transaction() as db:
        db.executemany('INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)', rows)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "studio.sqlite3")


@pytest.fixture(autouse=True)
def _always_look(monkeypatch):
    monkeypatch.setattr(module._RunSeries, "every", 0)


def test_a_spike_among_a_million_points_is_kept_exactly():
    envelope = Envelope()
    for x in range(1_000_000):
        envelope.append(x, 1.0 + (x % 7) * 0.01)
        if x == 654_321:
            envelope.append(x, 98.75)
            envelope.append(x, -3.5)
    viewer = Viewer()
    viewer.take(envelope.since(0))
    points = sum(viewer.buckets, [])
    assert (654_321, 98.75) in points and (654_321, -3.5) in points
    assert len(envelope.buckets) <= CAPACITY
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_the_full_answer_is_small_and_the_next_one_tiny():
    envelope = Envelope()
    for x in range(1_000_000):
        envelope.append(x, random.random())
    assert len(json.dumps(envelope.since(0))) < 60_000
    assert envelope.since(envelope.count) is None
    have = envelope.count
    envelope.append(1_000_000, 0.5)
    assert len(json.dumps(envelope.since(have))) < 120


@pytest.mark.parametrize("every", [1, 3, 64, 700, 5000])
def test_a_viewer_that_asks_now_and_then_sees_what_a_newcomer_sees(every):
    chance, envelope, viewer = random.Random(every), Envelope(), Viewer()
    for x in range(20_000):
        envelope.append(x, math.nan if x % 501 == 0 else chance.gauss(0, 1))
        if x % every == 0 and (change := envelope.since(viewer.n)):
            viewer.take(change)
    if change := envelope.since(viewer.n):
        viewer.take(change)
    newcomer = Viewer()
    newcomer.take(envelope.since(0))
    assert viewer.buckets == newcomer.buckets


def test_six_significant_digits_keep_a_learning_rate_smooth():
    envelope = Envelope()
    for x in range(100):
        envelope.append(x, 2e-7 * (1 + math.cos(x / 50)))
    assert len({bucket[1] for bucket in envelope.since(0)["b"]}) == 100


def test_values_that_are_no_number_are_not_drawn():
    envelope = Envelope()
    for x, y in enumerate([1.0, math.nan, math.inf, 2.0]):
        envelope.append(x, y)
    assert envelope.since(0)["b"] == [[0, 1], [], [], [3, 2]]
    assert envelope.since(0)["l"] == [3, 2]


def test_a_fast_series_gets_by_with_fewer_buckets():
    fast, slow = Envelope(), Envelope()
    for x in range(CAPACITY):
        fast.append(x, x, when=x / 100)
        slow.append(x, x, when=x / 2)
    assert len(fast.buckets) <= CAPACITY // 2
    assert len(slow.buckets) == CAPACITY


def test_the_feed_answers_only_what_is_new(store):
    fill(store, "a", 1, 50)
    feed = Feed(store)
    first = feed.answer("a")
    assert first["series"]["loss"]["n"] == 50
    assert feed.answer("a", first["epoch"], {"loss": 50})["series"] == {}
    fill(store, "a", 51, 52)
    second = feed.answer("a", first["epoch"], {"loss": 50})
    assert second["epoch"] == first["epoch"] and second["series"]["loss"]["f"] == 50
    assert len(second["series"]["loss"]["b"]) == 2


def test_runs_do_not_mix_and_an_unknown_run_is_empty(store):
    fill(store, "a", 1, 5)
    fill(store, "b", 1, 7)
    feed = Feed(store)
    assert [feed.answer(run)["series"]["loss"]["n"] for run in "ab"] == [5, 7]
    assert feed.answer("no such run")["series"] == {}


@pytest.mark.parametrize("others_wrote", [False, True], ids=["same ids again", "higher ids"])
def test_a_resumed_run_begins_a_new_epoch_without_the_lost_rows(store, others_wrote):
    fill(store, "a", 1, 100, lambda step: {"loss": 9.0 if step > 60 else 1.0})
    feed = Feed(store)
    before = feed.answer("a")
    if others_wrote:
        fill(store, "b", 1, 3)
    store.forget_metrics_after("a", 60)
    for step in range(61, 101):
        store.add_metrics("a", step, {"loss": 2.0})
    after = feed.answer("a", before["epoch"], {"loss": 100})
    assert after["epoch"] != before["epoch"]
    assert after["series"]["loss"]["f"] == 0 and after["series"]["loss"]["n"] == 100
    values = {bucket[1] for bucket in after["series"]["loss"]["b"]}
    assert values == {1, 2}


def test_rows_that_only_vanished_are_noticed_too(store):
    fill(store, "a", 1, 100)
    feed = Feed(store)
    before = feed.answer("a")
    store.forget_metrics_after("a", 60)
    after = feed.answer("a", before["epoch"], {"loss": 100})
    assert after["epoch"] != before["epoch"] and after["series"]["loss"]["n"] == 60


def test_a_long_run_is_read_in_portions(store, monkeypatch):
    fill(store, "a", 1, 5_000)
    monkeypatch.setattr(module._RunSeries, "chunk", 1_000)
    monkeypatch.setattr(module._RunSeries, "patience", 0)
    feed = Feed(store)
    answers = [feed.answer("a") for _ in range(6)]
    assert [answer["more"] for answer in answers] == [True] * 5 + [False]
    assert answers[-1]["series"]["loss"]["n"] == 5_000
    previews = [answer["series"]["loss"] for answer in answers[:-1]]
    assert {(preview["n"], preview["b"][0][0], preview["l"][0]) for preview in previews} == {(500, 1, 5_000)}
    assert {answer["epoch"] for answer in answers[:-1]} == {answers[-1]["epoch"] - 1}  # the viewer will discard it
    store.add_metrics("a", 5_001, {"loss": 1.0})
    time.sleep(module._RunSeries.every)
    assert feed.answer("a", answers[-1]["epoch"], {"loss": 5_000})["series"]["loss"]["n"] == 5_001


def test_few_runs_are_kept(store):
    feed = Feed(store, keep=2)
    for run in "abc":
        feed.answer(run)
    assert list(feed._runs) == ["b", "c"]

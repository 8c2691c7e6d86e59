"""Ready-made comparisons: each variant is a valid recipe of the draft, refused with a reason or queued as a whole."""

import pytest

from studio.desk import Desk, ready_comparisons
from studio.desk.ready_comparisons import READY, plan, refusal, start
from studio.home import Home
from studio.jobs import client
from studio.library.comparison import recipe_differences
from studio.runs import search
from studio.runs.comparison import compare
from studio.store import Store
from studio.words import StudioError

CHANGED = {
    "rank": {("method", "rank"): [8, 16], ("method", "alpha"): [16, 32]},
    "alpha": {("method", "alpha"): [8, 16]},
    "optimiser": {("training", "optimiser"): ["adamw", "sgd"], ("training", "learning_rate"): [0.003, 0.9]},
    "schedule": {("training", "lr_scheduler_type"): ["cosine", "linear", "constant"]},
    "layers": {("method", "targets"): ["attention", "all-linear"]},
}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return Desk(home, Store(home.database))


@pytest.mark.parametrize("key", READY)
def test_the_variants_differ_in_what_the_card_says_and_the_seeds_make_groups(desk, key):
    draft = desk.draft()
    found = plan(desk, key, 2)
    count = len(READY[key].variants)
    assert len(found.runs) == 2 * count and found.seconds > 0
    tag = start(desk, key, 2)
    runs = [desk.store.run(run) for run in reversed(search.matching(desk.store, search.Query(tag=tag)))]
    assert [run["name"] for run in runs] == [str(name) for name, _ in found.runs]
    differences = recipe_differences([run["recipe"] for run in runs])
    seeds = differences.pop(("training", "seed"))
    assert seeds == [draft["training"]["seed"] + at // count for at in range(2 * count)]
    assert {option: values[:count] for option, values in differences.items()} == CHANGED[key]
    assert len(compare(desk.store, [run["id"] for run in runs]).groups) == count
    assert desk.draft() == draft and len(desk.store.queue()) == 2 * count


def test_a_card_that_does_not_go_with_the_recipe_says_why(desk):
    desk.choose_method("bitfit")
    assert str(refusal(desk, "rank")) == "BitFit has no option 'rank'." and refusal(desk, "schedule") is None
    with pytest.raises(StudioError, match="no option"):
        plan(desk, "rank", 1)
    training = desk.draft()["training"]
    desk.change(training={**training, "learning_rate": 0.5})
    assert str(refusal(desk, "optimiser")) == "training.learning_rate: Learning rate must be at most 10, but is 150.0."
    desk.change(training={**training, "learning_rate": "quick"})
    assert "Learning rate must be a number" in str(refusal(desk, "schedule"))
    desk.change(training=training, data={"source": ""})
    with pytest.raises(StudioError, match="No data yet"):
        plan(desk, "schedule", 1)


def test_nothing_is_queued_if_not_all_can_be(desk, monkeypatch):
    names = iter(["a", "a"])  # two runs of one id
    monkeypatch.setattr("studio.store.secrets.token_hex", lambda count: next(names))
    monkeypatch.setattr("studio.store.time.strftime", lambda form: "now-")
    with pytest.raises(Exception, match="UNIQUE"):
        ready_comparisons.start(desk, "alpha", 1)
    assert not desk.store.queue() and not desk.store.runs()

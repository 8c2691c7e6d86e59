"""Ready-made comparisons: each variant is a valid recipe of the draft, refused with a reason or queued as a whole."""

import pytest

from studio.draft import DraftEditor, ready_comparisons
from studio.draft.ready_comparisons import READY, plan, refusal, start
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
def editor(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


@pytest.mark.parametrize("key", READY)
def test_the_variants_differ_in_what_the_card_says_and_the_seeds_make_groups(editor, key):
    draft = editor.draft()
    found = plan(editor, key, 2)
    count = len(READY[key].variants)
    assert len(found.runs) == 2 * count and found.seconds > 0
    tag = start(editor, key, 2)
    runs = [editor.store.run(run) for run in reversed(search.matching(editor.store, search.Query(tag=tag)))]
    assert [run["name"] for run in runs] == [str(name) for name, _ in found.runs]
    differences = recipe_differences([run["recipe"] for run in runs])
    seeds = differences.pop(("training", "seed"))
    assert seeds == [draft["training"]["seed"] + at // count for at in range(2 * count)]
    assert {option: values[:count] for option, values in differences.items()} == CHANGED[key]
    assert len(compare(editor.store, [run["id"] for run in runs]).groups) == count
    assert editor.draft() == draft and len(editor.store.queue()) == 2 * count


def test_a_card_that_does_not_go_with_the_recipe_says_why(editor):
    editor.choose_method("bitfit")
    assert str(refusal(editor, "rank")) == "BitFit has no option 'rank'." and refusal(editor, "schedule") is None
    with pytest.raises(StudioError, match="no option"):
        plan(editor, "rank", 1)
    training = editor.draft()["training"]
    editor.change(training={**training, "learning_rate": 0.5})
    assert (
        str(refusal(editor, "optimiser")) == "training.learning_rate: Learning rate must be at most 10, but is 150.0."
    )
    editor.change(training={**training, "learning_rate": "quick"})
    assert "Learning rate must be a number" in str(refusal(editor, "schedule"))
    editor.change(training=training, data={"source": ""})
    with pytest.raises(StudioError, match="No data yet"):
        plan(editor, "schedule", 1)


def test_nothing_is_queued_if_not_all_can_be(editor, monkeypatch):
    names = iter(["a", "a"])  # two runs of one id
    monkeypatch.setattr("studio.store.secrets.token_hex", lambda count: next(names))
    monkeypatch.setattr("studio.store.time.strftime", lambda form: "now-")
    with pytest.raises(Exception, match="UNIQUE"):
        ready_comparisons.start(editor, "alpha", 1)
    assert not editor.store.queue() and not editor.store.runs()

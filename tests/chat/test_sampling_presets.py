"""Presets of sampling options: built-in ones are valid, own ones are saved, replaced and deleted."""

import pytest

from studio.chat import sampling_presets as presets
from studio.chat.sampling import Sampling
from studio.store import Store
from studio.words import StudioError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "studio.sqlite3")


def test_built_in_presets_are_valid_and_keep_length_and_seed(store):
    now = {"temperature": 2.0, "top_k": 5, "max_tokens": 77, "seed": 3}
    for name in presets.BUILT_IN:
        made = Sampling(**presets.apply_preset(store, name, now))
        assert (made.max_tokens, made.seed, made.top_k) == (77, 3, 0)
    assert presets.apply_preset(store, "Greedy", now)["temperature"] == 0


def test_own_presets_hold_every_option(store):
    mine = Sampling(temperature=0.4, min_p=0.1, max_tokens=9, seed=1)
    assert presets.save_preset(store, "  Mine  too ", mine) == "Mine too"
    assert Sampling(**presets.apply_preset(store, "Mine too", {"max_tokens": 500})) == mine
    presets.save_preset(store, "Mine too", Sampling(top_k=2))
    assert presets.own_presets(store)["Mine too"]["top_k"] == 2
    presets.delete_preset(store, "Mine too")
    assert presets.own_presets(store) == {}


def test_names_that_cannot_be_used(store):
    for act, match in (
        (lambda: presets.save_preset(store, " ", Sampling()), "name of 1 to 40"),
        (lambda: presets.save_preset(store, "Greedy", Sampling()), "built-in"),
        (lambda: presets.delete_preset(store, "Greedy"), "stays"),
        (lambda: presets.apply_preset(store, "gone", {}), "no preset"),
    ):
        with pytest.raises(StudioError, match=match):
            act()

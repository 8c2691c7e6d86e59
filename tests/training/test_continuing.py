"""Continue training from an adapter: the run starts where the adapter ended, says so, and refuses what does not fit."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from studio.library import adapter_store, continuing, lineage
from studio.recipe import recipe_from
from studio.training.initial import WEIGHTS
from studio.words import StudioError
from tests.training.runs import QUIET, Runs

LORA = {"name": "lora", "rank": 4, "alpha": 8, "targets": "attention"}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """(runs, id of an adapter that was trained in them)."""
    runs = Runs(tmp_path_factory.mktemp("home"))
    return runs, runs.start(LORA, evaluations=1, learning_rate=5e-3)


def measured(runs, run_id: str, key: str) -> list[float]:
    return [row["values"][key] for row in runs.store.metrics(run_id) if key in row["values"]]


@pytest.mark.slow
def test_a_run_starts_with_the_loss_at_which_its_parent_ended(first):
    runs, parent = first
    reached = runs.store.adapter(parent)["card"]["metrics"]["eval_loss"]
    began = measured(runs, parent, "loss")[0]
    child = runs.start(LORA, model={"adapter": parent}, evaluations=1, max_steps=1, learning_rate=1e-12)
    card = runs.store.adapter(child)["card"]
    assert card["metrics"]["eval_loss"] == pytest.approx(reached, abs=1e-5)  # nothing was learnt since
    assert measured(runs, child, "loss")[0] < began - 0.1
    assert card["metrics"]["base_eval_loss"] == pytest.approx(
        runs.store.adapter(parent)["card"]["metrics"]["base_eval_loss"], abs=1e-5
    )
    assert card["parents"] == [lineage.parent(parent, "test", "continued")]
    assert [relative.id for relative in lineage.children(runs.store, parent)] == [child]


@pytest.mark.slow
def test_a_run_that_goes_on_from_a_checkpoint_keeps_what_the_first_adapter_froze(first):
    runs, _ = first
    frozen = {"name": "lora_fa", "rank": 4, "targets": "attention"}
    parent = runs.start(frozen, evaluations=0, max_steps=1, seed=1)
    child = runs.start(frozen, model={"adapter": parent}, evaluations=0, max_steps=2, seed=2)
    longer = runs.start(frozen, model={"adapter": parent}, continues={"run": child, "step": 2}, max_steps=3)
    first_a, last_a = (
        {key: tensor for key, tensor in load_file(runs.home.adapter(each) / WEIGHTS).items() if "lora_A" in key}
        for each in (parent, longer)
    )
    assert first_a and all(torch.equal(last_a[key], tensor) for key, tensor in first_a.items())


@pytest.mark.slow
def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one_though_its_parent_is_gone(first):
    runs, parent = first
    options = {"model": {"adapter": parent}, "learning_rate": 1e-3, **QUIET}
    whole = runs.start(LORA, **options)
    half = runs.start(LORA, stop_after=3, **options)
    adapter_store.delete(runs.home, runs.store, parent)
    try:
        runs.resume(half)
    finally:
        adapter_store.restore(runs.home, runs.store, parent)
    assert measured(runs, half, "loss") == pytest.approx(measured(runs, whole, "loss"), abs=1e-5)
    assert runs.store.adapter(half)["card"]["parents"][0]["id"] == parent


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"method": {**LORA, "rank": 8}}, "Rank r = 4"),
        ({"method": "ia3"}, "was trained with LoRA"),
        ({"model": {"name": "Qwen/Qwen3-0.6B"}}, "was trained over starter"),
        ({"task": "classification"}, "another task"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(first, recipe, words):
    runs, parent = first
    model = {**recipe.get("model", {}), "adapter": parent}
    found = recipe_from({"data": {"source": "captain"}, "method": LORA, **recipe, "model": model})
    assert words in str(continuing.mismatch(runs.store, found))


def test_the_desk_gets_the_adapters_recipe_and_other_dropout_is_allowed(first):
    runs, parent = first
    parts = continuing.draft(runs.store, parent)
    parts["method"]["dropout"] = 0.1
    recipe = recipe_from(parts)
    assert recipe.model.adapter == parent and recipe.method.rank == 4
    assert continuing.mismatch(runs.store, recipe) is None
    assert continuing.start_of(runs.store, recipe) == "test"
    with pytest.raises(StudioError, match="not in the library any more"):
        runs.start(LORA, model={"adapter": "gone"})


def test_a_whole_model_and_an_adapter_of_unknown_making_are_not_continued():
    assert "whole model" in str(continuing.refusal({"kind": "model"}))
    assert "not known" in str(continuing.refusal({"kind": "adapter"}))
    assert "chosen or made anew" in str(continuing.refusal({"recipe": {"method": {"name": "pissa"}}}))
    assert continuing.refusal({"recipe": {"method": {"name": "lora"}}}) is None

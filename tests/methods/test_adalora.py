"""AdaLoRA prunes, down to its budget, and what it ships is what it kept."""

import json

import pytest
from safetensors.torch import load_file

from studio.methods import METHODS
from studio.options import check
from studio.training import worker
from tests.training.runs import QUIET

pytestmark = pytest.mark.slow
METHOD = {"name": "adalora", "rank": 2, "start_rank": 4, "targets": "q_proj,v_proj"}
LAYERS = 2 * 5


def ranks(folder) -> list[int]:
    return [
        len(tensor)
        for name, tensor in load_file(folder / "adapter_model.safetensors").items()
        if name.endswith("lora_E")
    ]


@pytest.fixture
def spied(monkeypatch):
    """The trainer that the last run had."""
    seen, build = {}, worker.build
    monkeypatch.setattr(
        worker, "build", lambda *args: seen.setdefault("trainers", []).append(build(*args)) or seen["trainers"][-1]
    )
    return seen


def test_adalora_reaches_its_budget_and_keeps_ranks_after_resume(runs, spied):
    whole = runs.start(METHOD, max_steps=20, learning_rate=5e-3, **QUIET)
    folder = runs.home.adapter(whole)
    assert sum(ranks(folder)) == 2 * LAYERS and len(set(ranks(folder))) > 1  # the budget, not spread evenly
    pattern = json.loads((folder / "adapter_config.json").read_text())["rank_pattern"]
    assert sum(sum(kept) for kept in pattern.values()) == 2 * LAYERS

    resumed = runs.start(METHOD, max_steps=20, learning_rate=5e-3, **QUIET, stop_after=7)
    runs.resume(resumed)
    assert json.loads((runs.home.adapter(resumed) / "adapter_config.json").read_text())["rank_pattern"] == pattern
    first, again = (
        load_file(folder / "adapter_model.safetensors"),
        load_file(runs.home.adapter(resumed) / "adapter_model.safetensors"),
    )
    assert all((first[name] - again[name]).abs().max() < 1e-6 for name in first if first[name].numel())


def test_without_being_told_it_would_not_prune(runs, monkeypatch):
    """What the callback is for (FACTS 8)."""
    monkeypatch.setattr(METHODS["adalora"], "callbacks", lambda self, setting: [])
    run = runs.start(METHOD, max_steps=6, learning_rate=5e-3, **QUIET)
    assert sum(ranks(runs.home.adapter(run))) == 4 * LAYERS


def test_stopped_early_it_ships_the_ranks_that_it_has(runs):
    best = {"evaluations": 12, "load_best_model_at_end": True, "sample_prompts": 0}
    run = runs.start(METHOD, max_steps=12, learning_rate=5e-3, **best)
    assert runs.store.run(run)["state"] == "done"  # the reloaded artefact gave the same logits


def test_a_budget_that_leaves_nothing_to_prune_is_refused():
    assert "must be higher than the rank budget (8)" in str(
        check(METHODS["adalora"], {"rank": 8, "start_rank": 8})[1][""]
    )
    assert "take 95% of the run together" in str(check(METHODS["adalora"], {"before": 0.5, "after": 0.45})[1][""])

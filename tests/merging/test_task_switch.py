"""A merged model that switches from one adapter to another and back, bit for bit; what subtracting would leave."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.export.job import export
from studio.library import adapter_store, lineage
from studio.merging.task_switch import subtraction_drift
from studio.words import StudioError
from tests.merging.test_convert import put, run


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def merged(home, store, adapters):
    """The adapters a and pattern in the library, and the merged model of a; returns its folder."""
    from studio.jobs.job import Job

    for name in ("a", "pattern"):
        put(home, store, adapters / name, adapters / "base", name)
    job = store.queue_job("export", {"adapter": "a", "target": "merged"})
    return home.adapter(export(Job(store.job(job), store, home))["adapter"])


@pytest.mark.slow
def test_there_and_back_bit_for_bit(home, store, adapters, merged):
    first = weights(merged)
    found = run(home, store, "switch", model="a-merged", adapter="pattern")
    assert found["model"] == "a-merged" and found["changed"] == 6 and 0 < found["drift"] < 1e-5
    switched = weights(merged)
    _, card, name = adapter_store.find(home, store, "a-merged")
    assert lineage.merged_adapter(card) == "pattern" and name == "pattern (merged)" and card["kind"] == "model"
    shutil.rmtree(home.adapter("a-merged").with_name("x"), ignore_errors=True)
    from studio.jobs.job import Job

    job = store.queue_job("export", {"adapter": "pattern", "target": "merged"})
    fresh = home.adapter(export(Job(store.job(job), store, home))["adapter"])
    assert same(switched, weights(fresh)) and not same(switched, first)
    for _ in range(2):
        run(home, store, "switch", model="a-merged", adapter="a")
        assert same(weights(merged), first)
        run(home, store, "switch", model="a-merged", adapter="pattern")
    assert same(weights(merged), switched)
    assert (merged / "config.json").exists() and (merged / "tokenizer.json").exists()


def test_subtracting_drifts(adapters):
    """In 16 bit a thousand times as far as in 32."""
    base, card = adapters / "base", {"task": "chat"}
    assert 0 < subtraction_drift(base, adapters / "a", "fp32", card) < 1e-6
    assert subtraction_drift(base, adapters / "a", "bf16", card) > 1e-3


def test_what_does_not_fit_is_refused_and_the_model_stays(home, store, adapters, merged):
    with pytest.raises(StudioError, match="is the adapter that the model was merged from"):
        run(home, store, "switch", model="a-merged", adapter="a")
    with pytest.raises(StudioError, match="Only a model that the studio has merged"):
        run(home, store, "switch", model="a", adapter="pattern")
    put(home, store, adapters / "b", "elsewhere", "b")
    with pytest.raises(StudioError, match="belongs to another base model"):
        run(home, store, "switch", model="a-merged", adapter="b")
    put(home, store, adapters / "b", adapters / "base", "p", method="prompt_tuning")
    with pytest.raises(StudioError, match="it changes the input"):
        run(home, store, "switch", model="a-merged", adapter="p")
    changed = weights(merged)
    changed["model.norm.weight"][0] += 1
    save_file(changed, merged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StudioError, match="model.norm.weight differs"):
        run(home, store, "switch", model="a-merged", adapter="pattern")
    assert same(weights(merged), changed)

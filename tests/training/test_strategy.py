"""Runs that adapt while they learn, on the starter: rescued, resumed, with other ranks, with batches in parts."""

import json
from dataclasses import replace

import pytest
import torch

from studio.methods.lora import LoRA
from studio.training.strategy import memory, ranks
from studio.training.strategy.rules import metric
from tests.training.runs import Runs, few

RUN = {
    "adapt": True,
    "batch_size": 2,
    "max_length": 40,
    "evaluation_rows": 0,
    "sample_prompts": 0,
    "adapt_evaluations": 10,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0.0,
    "save_steps": 1000,
    "data": few("captain", 60, 16),
}
METHOD = {"name": "lora", "rank": 4, "alpha": 8}


def actions(runs: Runs, run: str) -> list[dict]:
    return [event["data"] for event in runs.store.events(run, kind="action")]


def reached(runs: Runs, run: str) -> float:
    return runs.store.run(run)["result"]["metrics"]["eval_loss"]


# ---- ranks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    """(a tiny Llama with a LoRA that has taken a few steps, its optimiser, token ids)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    base = LlamaForCausalLM(config)
    base.save_pretrained(tmp_path / "base")
    model = LoRA(rank=4, alpha=8).wrap(base)
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-2)
    ids = torch.randint(0, 64, (4, 12))
    for _ in range(4):
        step(model, optimizer, ids)
    return model, optimizer, ids


def step(model, optimizer, ids) -> float:
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def logits(model, ids) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def assert_stock_peft_agrees(model, ids, folder) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    model.save_pretrained(folder / "adapter")
    loaded = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(folder / "base"), folder / "adapter")
    assert torch.allclose(logits(loaded, ids), logits(model, ids), atol=1e-6)


def test_growing_keeps_outputs_and_momentum_and_the_new_directions_learn(trained, tmp_path):
    model, optimizer, ids = trained
    before, layer = logits(model, ids), ranks.layers(model)[0]
    kept = optimizer.state[layer.a]["exp_avg"].clone()
    for place, each in enumerate(ranks.layers(model)):
        if place % 2 == 0:
            ranks.grow(each, 6, optimizer, seed=place)
    ranks.record(model)
    assert (logits(model, ids) - before).abs().max() < 1e-6
    assert torch.equal(optimizer.state[layer.a]["exp_avg"][:4], kept) and layer.a.shape[0] == 6
    assert not optimizer.state[layer.b]["exp_avg"][:, 4:].any() and not layer.b[:, 4:].any()
    step(model.train(), optimizer, ids)
    assert layer.b[:, 4:].any()
    assert set(model.peft_config["default"].rank_pattern.values()) == {6}
    assert_stock_peft_agrees(model, ids, tmp_path)


def test_shrinking_drops_what_carries_nothing_exactly(trained, tmp_path):
    model, optimizer, ids = trained
    with torch.no_grad():
        for layer in ranks.layers(model):  # of the 4 directions, 2 become multiples of the others
            layer.b[:, 2:] = layer.b[:, :2] * 0.5
    before = logits(model, ids)
    assert {ranks.needed_rank(layer, 1e-10) for layer in ranks.layers(model)} == {2}
    for layer in ranks.layers(model):
        ranks.shrink(layer, 2, optimizer)
    ranks.record(model)
    assert (logits(model, ids) - before).abs().max() < 1e-6
    assert_stock_peft_agrees(model, ids, tmp_path)
    assert step(model.train(), optimizer, ids) > step(model, optimizer, ids)


def test_shrinking_converts_the_momentum_as_the_gradients_and_can_be_undone(trained):
    model, optimizer, ids = trained
    model(input_ids=ids, labels=ids).loss.backward()
    layer = ranks.layers(model)[0]
    state = optimizer.state[layer.a]
    state["exp_avg"] = layer.a.grad.clone()  # so that the converted momentum can be compared with a gradient
    before = logits(model.train(), ids)
    undo = ranks.remember(layer, optimizer)
    ranks.shrink(layer, 4, optimizer)  # turned, nothing dropped
    optimizer.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    assert torch.allclose(optimizer.state[layer.a]["exp_avg"], layer.a.grad, atol=1e-5)
    ranks.shrink(layer, 1, optimizer)
    undo()
    assert layer.rank == 4 and torch.equal(logits(model, ids), before)


# ---- memory ------------------------------------------------------------------------------------------------------


def test_the_last_good_state_is_one_that_proved_good(trained, tmp_path):
    model, optimizer, ids = trained
    method = LoRA(rank=4)
    good = memory.LastGood(model, method, optimizer)
    good.take(0)
    loss = step(model.train(), optimizer, ids)
    good.take(1)
    step(model, optimizer, ids)
    good.save(tmp_path)
    again = memory.LastGood(model, method, optimizer)
    again.load(tmp_path)
    assert again.restore() == 0
    assert step(model, optimizer, ids) == pytest.approx(loss, abs=1e-6)
    assert again.restore() == 0 and step(model, optimizer, ids) == pytest.approx(loss, abs=1e-6)  # kept as it was


def test_a_batch_in_parts_has_all_rows_once():
    batch = {"input_ids": torch.arange(10).view(5, 2), "labels": torch.arange(5), "tokens": 9}
    parts = memory.split(batch, 2)
    assert [len(part["labels"]) for part in parts] == [3, 2]
    assert torch.equal(torch.cat([part["input_ids"] for part in parts]), batch["input_ids"])
    assert sum(part["tokens"] for part in parts) == 9


@pytest.mark.slow
def test_batches_are_split_when_memory_runs_out_and_learn_the_same(runs, monkeypatch):
    from studio.training.trainer import StudioTrainer

    options = {**RUN, "max_steps": 4, "gradient_accumulation_steps": 2, "evaluations": 0}
    whole = runs.start(METHOD, **options)
    real = StudioTrainer.token_losses

    def narrow(self, model, labels, **inputs):
        found = real(self, model, labels, **inputs)
        if model.training and len(labels) > 1 and self._place == 2:  # at the second batch of a step
            torch.empty(2**60, dtype=torch.uint8)  # the allocator refuses that as it does any lack of memory
        return found

    monkeypatch.setattr(StudioTrainer, "token_losses", narrow)
    split = runs.start(METHOD, **options)
    assert [(item["action"], item["step"]) for item in actions(runs, split)] == [("split", 1)]
    assert runs.losses(split) == pytest.approx(runs.losses(whole), abs=1e-4)
    assert runs.losses(split, "tokens") == runs.losses(whole, "tokens")
    assert list(runs.losses(split, metric("split"))) == [1]


# ---- whole runs --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_rate_far_too_high_falls_back_and_a_resumed_run_takes_the_same_turns(runs):
    options = {**RUN, "max_steps": 20, "learning_rate": 3.0, "save_steps": 7}
    whole = runs.start(METHOD, **options)
    assert "fall_back" in {item["action"] for item in actions(runs, whole)}
    seen = [loss for step, loss in runs.losses(whole, "eval_loss").items() if step]
    assert reached(runs, whole) == pytest.approx(min(seen), abs=1e-2)
    half = runs.start(METHOD, stop_after=actions(runs, whole)[0]["step"] + 2, **options)
    runs.resume(half)
    assert runs.losses(half) == pytest.approx(runs.losses(whole), abs=1e-5)
    assert [(item["step"], item["rule"]) for item in actions(runs, half)] == [
        (item["step"], item["rule"]) for item in actions(runs, whole)
    ]


@pytest.mark.full
@pytest.mark.slow
def test_a_rate_far_too_low_is_raised(runs):
    options = {**RUN, "max_steps": 40, "learning_rate": 3e-5}
    static = runs.start(METHOD, **{**options, "adapt": False, "evaluations": 1})
    adapted = runs.start(METHOD, **options)
    assert {item["action"] for item in actions(runs, adapted)} == {"raise"}
    assert reached(runs, adapted) < reached(runs, static) - 0.1
    rates = list(runs.losses(adapted, "learning_rate").values())
    assert rates[0] == pytest.approx(3e-5) and rates[-1] >= 9e-5


@pytest.mark.slow
def test_a_step_that_is_no_number_is_undone(runs, monkeypatch):
    from studio.training.trainer import StudioTrainer

    real = StudioTrainer.compute_loss

    def broken(self, model, inputs, **kwargs):
        loss = real(self, model, inputs, **kwargs)
        return loss * float("nan") if self.state.global_step == 5 and self.model.training else loss

    monkeypatch.setattr(StudioTrainer, "compute_loss", broken)
    run = runs.start(METHOD, **{**RUN, "max_steps": 10})
    assert [item["step"] for item in actions(runs, run) if item["rule"] == "not_finite"] == [6]
    assert 6 not in runs.losses(run) and runs.losses(run)[10] < 20
    rates = runs.losses(run, "learning_rate")
    assert rates[7] == pytest.approx(rates[5] / 2)


@pytest.mark.slow
def test_ranks_change_during_a_run_that_is_resumed_and_its_adapter_loads_in_stock_peft(runs, monkeypatch):
    from studio.training.strategy import rules

    # The rule that both losses have levelled off, at the second evaluation; what it does is real.
    early = next(rule for rule in rules.RULES if rule.id == "levelled_off")
    early = replace(early, applies=lambda watch: {"count": 2, "training": "1"} if watch.step == 8 else None)
    monkeypatch.setattr(rules, "RULES", (early,))
    options = {**RUN, "max_steps": 14, "adapt_evaluations": 4, "save_steps": 3, "learning_rate": 3e-3}
    narrow = {**METHOD, "rank": 1, "alpha": 2}
    whole = runs.start(narrow, **options)
    (found,) = actions(runs, whole)
    assert found["action"] == "grow" and found["step"] == 8
    change = found["values"]["change"]["values"]
    assert float(change["before"]) == pytest.approx(float(change["after"]), abs=2e-4)
    half = runs.start(narrow, stop_after=10, **options)
    runs.resume(half)
    assert runs.losses(half) == pytest.approx(runs.losses(whole), abs=1e-5)
    config = json.loads((runs.home.adapter(half) / "adapter_config.json").read_text())
    assert set(config["rank_pattern"].values()) == {2} and set(config["alpha_pattern"].values()) == {4}
    # That the adapter reloads in stock peft with the same logits is checked at the end of each run.

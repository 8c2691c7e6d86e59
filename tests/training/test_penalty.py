"""A method's penalty steers the learning and leaves the curve alone."""

import pytest

from studio.methods import METHODS
from tests.training.runs import QUIET


def pull_to_zero(method, model):
    """Weight decay as a penalty: heavy, so that nothing can be learnt against it."""
    return 1e4 * sum(parameter.square().sum() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.slow
def test_a_penalty_adds_its_gradient_and_not_its_value(runs, monkeypatch):
    free = runs.losses(runs.start("lora", **QUIET))
    monkeypatch.setattr(METHODS["lora"], "penalty", pull_to_zero)
    held = runs.losses(runs.start("lora", **QUIET))
    assert held[1] == pytest.approx(free[1], abs=1e-6)  # the penalty itself is in the thousands
    assert abs(held[6] - free[6]) > 1e-3


@pytest.mark.slow
def test_a_penalty_counts_once_in_a_step_of_several_batches(runs, monkeypatch):
    monkeypatch.setattr(METHODS["lora"], "penalty", pull_to_zero)
    step = {"group_by_length": False, "max_grad_norm": 0, "optimiser": "sgd", "learning_rate": 1e-7, "max_steps": 1}
    whole, parts = (
        runs.losses(
            runs.start("lora", batch_size=size, gradient_accumulation_steps=4 // size, **step, **QUIET), "gradient_norm"
        )
        for size in (4, 2)
    )
    assert parts[1] == pytest.approx(whole[1], rel=1e-3)

"""LoRA+'s two learning rates, and the weight decay that the person asked for, reach the optimiser."""

import torch

from studio.home import STARTER
from studio.methods import METHODS
from studio.models.load import load_base


def test_b_has_a_higher_learning_rate_and_weight_decay_applies():
    method = METHODS["lora_plus"](ratio=4, targets="q_proj")
    model = method.wrap(load_base(STARTER))
    groups = method.optimizer(
        model, torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.1, "betas": (0.8, 0.9)}
    ).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {
        ("B" if "lora_B" in names[id(parameter)] else "A", group["lr"], group["weight_decay"], group["betas"])
        for group in groups
        for parameter in group["params"]
    }
    assert rates == {("A", 1e-3, 0.1, (0.8, 0.9)), ("B", 4e-3, 0.1, (0.8, 0.9))}

"""The learning rates of a schedule that is a function of the step, multiplied by a factor that may change."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim.lr_scheduler import LambdaLR


def scale(scheduler: LambdaLR, factor: Callable[[], float]) -> None:
    """Multiply the schedule by `factor()` from now on."""

    def scaled(planned):
        # A function, not an object: the scheduler's state dict leaves functions out.
        return lambda step: planned(step) * factor()

    scheduler.lr_lambdas = [scaled(planned) for planned in scheduler.lr_lambdas]


def set_rates(scheduler: LambdaLR) -> None:
    """Give the optimiser the learning rates that the schedule has for the next step."""
    rates = [
        base * factor(scheduler.last_epoch)
        for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates

"""The rules of the strategy, as data: at which moment a rule is asked, when it applies, what it changes, and why.

A condition gets the `Watch` and returns the values of its reason, or None. Of the rules of one moment the first that
applies counts. Thresholds were set on recorded runs (`tests/diagnosis/curves`), so that healthy ones are left alone.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from studio.training.strategy.watch import LOWEST, Watch

_RISE = 0.5  # rise of the smoothed training loss, relative to its start, from which it diverges
_GLANCE = 3  # newest training losses of which the median makes suspicious …
_SUSPICIOUS = 0.15  # … if it is so much higher than the lowest one, relative to the start
_NOISE = 3.0  # the same rise, relative to the differences between batches
_BROKEN = 1.1  # validation loss, relative to that of the model before any step, from which a step broke it
_WORSE = 1.15  # validation loss, relative to the lowest one, from which the model got worse
_FELL = 0.12  # relative fall of the training loss from which a run is no longer at its start
_HOPELESS = 0.2  # relative fall of the validation loss by the end of the run, at its present pace, that is too small
_SLOW = 1.0  # the same, where the fall does not slow down
_STEADY = 0.9  # fall a step, relative to that before, from which it does not slow down
_EARLY, _LATE = 0.5, 0.75  # shares of the run after which rates are not raised, and nothing but a fall back is done
_LEVEL = 0.02  # relative fall of the training loss below which it has levelled off too
_CLOSE = 0.7  # training loss, relative to the validation loss, below which examples are memorised
_MOST_FALLS = 12

UP, DOWN = 4.0, 0.5


@dataclass(frozen=True)
class Rule:
    """See the module's docstring.

    moment: "step", "evaluation" or "memory". action: what `Strategy` does, "fall_back", "raise", "lower", "grow",
    "shrink" or "split". factor: on the learning rate.
    """

    id: str
    applies: Callable[[Watch], dict | None]
    reason: str
    moment: str
    action: str
    factor: float = 1.0


def metric(action: str) -> str:
    """The metric that marks an action on the plot of the loss, "stop" for the early end included."""
    return f"adapted_{action}"


def suspicious(watch: Watch) -> bool:
    """Whether the newest training losses are so high that the validation loss, which does not depend on the batch,
    should be measured now.
    """
    newest = watch.recent()[-_GLANCE:]
    if watch.lowest is None or len(newest) < _GLANCE or watch.rate <= LOWEST:
        return False
    return median(newest) - watch.lowest > _SUSPICIOUS * abs(watch.start)


# ---- conditions after a step -------------------------------------------------------------------------------------


def _not_finite(watch: Watch) -> dict | None:
    return None if watch.finite or len(watch.falls) >= _MOST_FALLS else {}


def _diverges(watch: Watch) -> dict | None:
    now = watch.smooth()
    if now is None or watch.lowest is None or watch.rate <= LOWEST or len(watch.falls) >= _MOST_FALLS:
        return None
    rise = now - watch.lowest
    if rise <= _RISE * abs(watch.start) or rise <= _NOISE * watch.noise():
        return None
    return {"lowest": _short(watch.lowest), "now": _short(now)}


def _stalled(watch: Watch) -> dict | None:
    """Only at the beginning of a run, and by evaluations, since batches differ by more than this: the validation loss
    hardly moves, or falls slowly without slowing down, as where each step is far too small.
    """
    if watch.rate >= watch.ceiling or watch.step > _EARLY * watch.steps or not _at_start(watch):
        return None
    points = [item for item in watch.evaluations if item.step > max(watch.since, watch.begin)]
    if len(points) < 2 or points[-1].step - points[0].step < watch.window // 2:
        return None
    first, last = points[0], points[-1]
    *before, newest = [(one.loss - two.loss) / (two.step - one.step) for one, two in pairwise(points)]
    fall = (first.loss - last.loss) / abs(first.loss) if first.loss else 1.0
    by_the_end = fall / (last.step - first.step) * (watch.steps - first.step)
    steady = bool(before) and newest >= _STEADY * before[-1] > 0
    if abs(by_the_end) > _HOPELESS and not (steady and by_the_end < _SLOW):
        return None
    return {"fall": f"{max(0.0, fall):.1%}", "steps": last.step - first.step}


def _at_start(watch: Watch) -> bool:
    """Whether the smoothed training loss is still about where it began."""
    now = watch.smooth()
    return now is not None and watch.start is not None and watch.start - now < _FELL * abs(watch.start)


# ---- conditions after an evaluation ------------------------------------------------------------------------------


def _got_worse(watch: Watch) -> dict | None:
    """The validation loss rose and the training loss did not fall meanwhile, unlike when examples are memorised."""
    if not watch.evaluations or len(watch.falls) >= _MOST_FALLS:
        return None
    *before, now = watch.evaluations
    best = min(before, key=lambda item: item.loss, default=None)
    was = best.loss if best else watch.start
    # Before the first step there is no training loss, and nothing was memorised.
    memorises = best and best.training is not None and now.training is not None and now.training < best.training
    limit = 1 + _RISE if best is None else _BROKEN if best.training is None else _WORSE
    if was is None or now.loss <= limit * was or memorises:
        return None
    return {"was": _short(was), "now": _short(now.loss)}


def _levelled_off(watch: Watch) -> dict | None:
    """Both losses have levelled off at about the same height, so the layers may be too narrow to hold more."""
    waited = watch.waited()
    if not watch.ranks or not waited or watch.step > _LATE * watch.steps:
        return None
    before, now = waited[0].training, waited[-1].training
    if before is None or now is None or before - now > _LEVEL * abs(watch.start) or now < _CLOSE * waited[-1].loss:
        return None
    return {"count": len(waited), "training": _short(now)}


def _plateau(watch: Watch) -> dict | None:
    waited = watch.waited()
    if not waited or watch.step > _LATE * watch.steps or watch.rate <= LOWEST:
        return None
    return {"count": len(waited), "best": _short(min(item.loss for item in watch.evaluations))}


def _always(watch: Watch) -> dict | None:
    return {}


def _unused(watch: Watch) -> dict | None:
    """At each evaluation of the middle of the run; the action itself finds which directions carry nothing."""
    return {} if watch.ranks and _EARLY / 2 * watch.steps < watch.step <= _LATE * watch.steps else None


def _short(value: float) -> str:
    return f"{value:.3g}"


RULES = (
    Rule(
        "not_finite",
        _not_finite,
        "The loss or its gradient was no number any more: the step was too large.",
        "step",
        "fall_back",
        DOWN,
    ),
    Rule(
        "diverges",
        _diverges,
        "The training loss rose from {lowest} to {now}: the steps are too large.",
        "step",
        "fall_back",
        DOWN,
    ),
    Rule(
        "got_worse",
        _got_worse,
        "The validation loss rose from {was} to {now}, and the training loss did not fall meanwhile.",
        "evaluation",
        "fall_back",
        DOWN,
    ),
    Rule(
        "stalled",
        _stalled,
        "The validation loss fell by {fall} in {steps} steps only, close to where it began: the steps are too small.",
        "evaluation",
        "raise",
        UP,
    ),
    Rule(
        "levelled_off",
        _levelled_off,
        "Training and validation loss have levelled off for {count} evaluations, the former at {training}.",
        "evaluation",
        "grow",
    ),
    Rule(
        "plateau",
        _plateau,
        "The validation loss has not improved on {best} for {count} evaluations.",
        "evaluation",
        "lower",
        DOWN,
    ),
    Rule("unused", _unused, "Directions of some layers carry next to nothing.", "evaluation", "shrink"),
    Rule("no_memory", _always, "Memory ran out.", "memory", "split"),
)


def due(watch: Watch, moment: str) -> list[tuple[Rule, dict]]:
    """The rules of this moment that apply, each with the values of its reason, the most pressing first."""
    found = ((rule, rule.applies(watch)) for rule in RULES if rule.moment == moment)
    return [(rule, values) for rule, values in found if values is not None]

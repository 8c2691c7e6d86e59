"""The rules of the strategy on recorded and synthetic curves: bad ones cause the right change, healthy ones none."""

import json
import math
import random

import pytest

from studio.training.strategy.rules import due, suspicious
from studio.training.strategy.watch import Watch
from tests.diagnosis.record import CURVES


def replay(losses, evaluations=(), *, steps=None, begin=0, ranks=False) -> tuple[Watch, list[tuple[int, str]]]:
    """Show a curve to the rules; (watch, [(step, rule)] of those that asked for a change). losses, evaluations: [[step,
    loss], …]. What was asked for is noted as done and has no effect on the curve.
    """
    seen, found = dict(map(tuple, evaluations)), []
    watch = Watch(steps or len(losses), begin, ranks=ranks)
    for step, loss in losses:
        watch.note_step(step, loss, 1.0)
        moments = ["step"]
        if step in seen:
            watch.note_evaluation(step, seen[step])
            moments.append("evaluation")
        for moment in moments:
            rules = [rule for rule, _ in due(watch, moment) if rule.id != "unused"]  # which changes nothing by itself
            if rules:
                found.append((step, rules[0].id))
                watch.changed(step)
    return watch, found


def curve(value, steps=200, noise=0.05, every=10):
    """(losses, evaluations) of a run whose loss at each step is value(step), evaluated without noise."""
    random.seed(1)
    losses = [[step, value(step) * (1 + random.gauss(0, noise))] for step in range(1, steps + 1)]
    return losses, [[step, value(step)] for step in range(every, steps + 1, every)]


@pytest.mark.parametrize("name", ["healthy_chat", "healthy_short", "healthy_tickets"])
def test_recorded_healthy_runs_are_left_alone(name):
    found = json.loads((CURVES / f"{name}.json").read_text())
    _, actions = replay(found["curves"]["loss"], found["curves"]["eval_loss"], steps=found["steps"], ranks=True)
    assert actions == []


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("floor", [0.05, 0.3, 0.8])
def test_healthy_falls_are_left_alone(floor, noise):
    losses, evaluations = curve(lambda step: 3 * (floor + (1 - floor) * math.exp(-step / 60)), noise=noise)
    assert replay(losses, evaluations, ranks=True)[1] == []


def test_a_recorded_explosion_falls_back():
    found = json.loads((CURVES / "exploded.json").read_text())
    _, actions = replay(found["curves"]["loss"], [], steps=found["steps"])
    assert actions[0][1] == "diverges" and actions[0][0] < 10


def test_a_recorded_rate_too_high_is_looked_at_closely_and_falls_back_where_the_validation_loss_rose():
    found = json.loads((CURVES / "rate_too_high.json").read_text())
    watch, asked = Watch(found["steps"]), None
    watch.note_evaluation(0, 7.3)
    for step, loss in found["curves"]["loss"][:8]:
        watch.note_step(step, loss, 1.0)
        asked = asked or (step if suspicious(watch) else None)
    assert asked == 5
    watch.note_evaluation(8, 8.5)
    assert [rule.id for rule, _ in due(watch, "evaluation")][0] == "got_worse"
    watch.evaluations[-1].loss = 7.8  # about as before: nothing to undo
    assert due(watch, "evaluation") == []


@pytest.mark.parametrize(
    ("losses", "first"),
    [([9.06, 5.45, 9.63, 7.35], 19.96), ([9.06, 8.96, 10.03, 11.79], 9.84)],  # real runs at rates of 0.1 and 0.5
)
def test_recorded_first_steps_that_broke_the_model_are_undone(losses, first):
    watch = Watch(24)
    watch.note_evaluation(0, 8.73)
    for step, loss in enumerate(losses, 1):
        watch.note_step(step, loss, 1.0)
    watch.note_evaluation(4, first)
    assert [rule.id for rule, _ in due(watch, "evaluation")] == ["got_worse"]


def test_no_number_falls_back_at_once():
    losses = [[step, 3.0] for step in range(1, 10)] + [[10, math.nan]]
    assert replay(losses, steps=100)[1] == [(10, "not_finite")]


def test_a_rate_far_too_low_is_raised():
    losses, evaluations = curve(lambda step: 7 - 0.0005 * step)
    watch, actions = replay(losses, evaluations)
    assert actions[0] == (20, "stalled") and {rule for _, rule in actions} == {"stalled"}
    assert max(step for step, _ in actions) <= 100  # not in the second half
    assert due(Watch.from_json(json.loads(json.dumps(watch.to_json()))), "evaluation") == due(watch, "evaluation")


def test_a_slow_fall_that_does_not_slow_down_is_a_rate_too_low():
    losses, evaluations = curve(lambda step: 7 - 0.01 * step, noise=0.02)
    assert replay(losses, evaluations)[1][0] == (30, "stalled")


def test_a_plateau_lowers_the_rate_and_grows_ranks_where_it_can():
    losses, evaluations = curve(lambda step: 1 + 2 * math.exp(-step / 10) + 1e-4 * max(0, step - 60), noise=0.01)
    assert [rule for _, rule in replay(losses, evaluations)[1]][:2] == ["plateau", "plateau"]
    assert replay(losses, evaluations, ranks=True)[1][0][1] == "levelled_off"


def test_memorising_lowers_the_rate_and_does_not_fall_back():
    losses, _ = curve(lambda step: 3 * math.exp(-step / 40))
    evaluations = [[step, 1 + abs(step - 60) / 60] for step in range(10, 201, 10)]
    rules = [rule for _, rule in replay(losses, evaluations, ranks=True)[1]]
    assert rules and set(rules) == {"plateau"}

"""The rules on recorded curves of real runs (`record.py`), and on every known failure."""

import json

import pytest

from studio.diagnosis import RULES, Evidence, diagnose
from studio.diagnosis.evidence import FALL_BACK
from studio.forecast import changed
from studio.jobs.failure_reasons import reason_of_exception, reason_of_exit
from studio.recipe import Recipe, recipe_from
from studio.words import Sentence, StudioError
from tests.diagnosis.record import CURVES, RUNS

GB = 2**30


def recorded(name):
    facts = json.loads((CURVES / f"{name}.json").read_text())
    curves = {key: [tuple(point) for point in points] for key, points in facts["curves"].items()}
    return Evidence(
        recipe_from(facts["recipe"]), facts["state"], Sentence.from_json(facts["reason"]), curves, facts["steps"]
    )


EXPECTED = {
    "rate_too_high": {"learning_rate_too_high"},
    "exploded": {"not_finite", "exploded"},
    "overfitting": {"overfitting"},
    "rate_too_low": {"learning_rate_too_low"},
    "nothing_moved": {"nothing_moved"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_gets_its_diagnosis_and_a_healthy_one_none(name):
    found = diagnose(recorded(name))
    assert {item.rule for item in found} <= EXPECTED.get(name, set()), [item.sentence for item in found]
    assert bool(found) == (name in EXPECTED)


def test_of_a_run_that_fell_back_only_what_came_after_is_judged():
    """The rate of "rate_too_high" broke the model; then the run fell back and went on as a healthy one."""
    broken, healthy = recorded("rate_too_high"), recorded(next(name for name in RUNS if name.startswith("healthy")))
    last = broken.curves["loss"][-1][0]
    both = {
        name: [*broken.curves[name], *((last + step, value) for step, value in healthy.curves.get(name, []))]
        for name in broken.curves
    }
    steps = broken.steps + healthy.steps
    assert diagnose(Evidence(broken.recipe, "done", None, {**both, FALL_BACK: [(last, 1.0)]}, steps)) == []
    (found,) = diagnose(Evidence(broken.recipe, "done", None, {**broken.curves, FALL_BACK: []}, broken.steps))
    assert found.rule == "learning_rate_too_high"


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("healthy")])
def test_a_healthy_run_raises_none_at_any_moment(name):
    whole = recorded(name)
    last = whole.curves["loss"][-1][0]
    for step in range(1, int(last) + 1):
        seen = {key: [point for point in points if point[0] <= step] for key, points in whole.curves.items()}
        now = Evidence(whole.recipe, "running", None, seen, whole.steps)
        assert diagnose(now) == [], step


@pytest.mark.parametrize("name", EXPECTED)
def test_each_remedy_is_a_valid_recipe_that_differs(name):
    evidence = recorded(name)
    (found,) = diagnose(evidence)
    assert found.remedies and "{" not in found.sentence.say("zh")
    for remedy in found.remedies:
        assert changed(evidence.recipe, remedy.changes) != evidence.recipe
        assert remedy.title.say() and remedy.title.say("zh")


def failed(reason, recipe=None, **more):
    if isinstance(reason, BaseException):
        reason = reason_of_exception(reason, "/home")
    return Evidence(recipe or Recipe(), "failed", reason, **more)


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


MEMORY = {"needed": 9.8 * GB, "free": 8 * GB, "batch_size": 4, "checkpointing": False}
FULL = {"memory_device": [(1, 15.5 * GB)]}


@pytest.mark.parametrize(
    ("evidence", "rule", "changes"),
    [
        (
            failed(OutOfMemoryError("CUDA out of memory."), memory=MEMORY),
            "out_of_memory",
            {"training.batch_size": 4, "training.gradient_accumulation_steps": 2},
        ),
        (
            failed(MemoryError(), memory={**MEMORY, "batch_size": 1, "checkpointing": True}),
            "out_of_memory",
            {
                "training.batch_size": 1,
                "training.gradient_accumulation_steps": 8,
                "machine.gradient_checkpointing": True,
            },
        ),
        (
            failed(reason_of_exit(None, 9, "train"), curves=FULL, memory_total=16 * GB),
            "killed_without_memory",
            {"training.batch_size": 4, "training.gradient_accumulation_steps": 2},
        ),
        (
            failed(StudioError("The loss became {loss} at step {step}: the model broke.", loss="nan", step=7)),
            "not_finite",
            {"training.learning_rate": 2e-5, "training.warmup_ratio": 0.1},
        ),
        (failed(OSError(28, "No space left on device", "/x")), "disk_full", {"training.save_total_limit": 1}),
        (failed(RuntimeError("CUDA error: unspecified launch failure")), "device_lost", {"machine.device": "cpu"}),
    ],
)
def test_known_failures(evidence, rule, changes):
    (found,) = diagnose(evidence)
    assert found.rule == rule and found.sentence.say()
    assert found.remedies[0].changes.items() >= changes.items()


def raised(action):
    with pytest.raises(StudioError) as error:
        action()
    return error.value


def test_failures_that_the_studio_raises_itself():
    """By the code that raises them, so that a changed sentence is noticed."""
    from studio.hardware import choose_device
    from studio.models.resolve import resolve_folder
    from studio.training import checks

    for action, rule, key in (
        (lambda: resolve_folder("/nowhere/model"), "model_missing", "model.name"),
        (lambda: resolve_folder("nobody/nothing-at-all"), "model_missing", "model.name"),
        (lambda: choose_device("cuda:7"), "device_lost", "machine.device"),
        (lambda: checks.labelled([], 4, 512), "nothing_labelled", "training.max_length"),
    ):
        (found,) = diagnose(failed(raised(action)))
        assert found.rule == rule and key in found.remedies[0].changes
        assert "{" not in found.sentence.say() and "{" not in found.sentence.say("zh")


def test_other_failures_and_other_kills_raise_none():
    for reason in (ValueError("seven is not a colour"), StudioError("The file {name} has no rows.", name="a.csv")):
        assert diagnose(failed(reason)) == []
    roomy = {"memory_device": [(1, 2 * GB)]}
    assert diagnose(failed(reason_of_exit(None, 9, "train"), curves=roomy, memory_total=16 * GB)) == []
    assert diagnose(Evidence(Recipe(), "running")) == []


def test_a_plateau():
    """A made-up curve."""
    flat = [(step, 4 - 1.2 * min(1, step / 12) + 0.002 * (-1) ** step) for step in range(1, 81)]
    (found,) = diagnose(Evidence(Recipe(), "done", None, {"loss": flat}, 80))
    assert found.rule == "plateau" and found.remedies[0].changes == {"method.rank": 16}


def test_ids_are_unique():
    assert len({rule.id for rule in RULES}) == len(RULES)

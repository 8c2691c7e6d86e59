"""What a run writes down while it learns: one row an optimiser step, and a sentence when the loss breaks."""

import math
import time
from unittest.mock import Mock

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState

from studio.jobs.job import Job
from studio.recipe import Training
from studio.training import layer_norms
from studio.training.events import Events
from studio.words import StudioError
from tests.training.runs import QUIET

STEP = {
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens",
    "seconds",
    "tokens_per_second",
    "padding",
    "memory_allocated",
    "memory_reserved",
    "memory_device",
}


@pytest.fixture
def events(runs):
    """Events of a job that nobody runs, over a real store; no token has been seen."""
    run_id, job_id = runs.store.create_run("test", {}, "cpu")
    job = Job(runs.store.job(job_id), runs.store, runs.home)
    return Events(
        job,
        Training(early_stopping_patience=2),
        tokens_seen=lambda: (0, 0),
        samples=list,
        writes_best=True,
        tracking=Mock(),
    )


def log(events: Events, step: int, **logs) -> None:
    events.on_log(None, TrainerState(global_step=step), TrainerControl(), logs=logs)


def evaluate(events: Events, step: int, loss: float) -> TrainerControl:
    control = TrainerControl()
    events.on_evaluate(None, TrainerState(global_step=step, max_steps=100), control, metrics={"eval_loss": loss})
    return control


@pytest.mark.slow
@pytest.mark.parametrize("batches_a_step", [1, 2])
def test_one_row_each_optimiser_step(runs, batches_a_step):
    run_id = runs.start(
        batch_size=2,
        gradient_accumulation_steps=batches_a_step,
        max_steps=4,
        evaluations=2,
        evaluation_rows=0,
        sample_prompts=0,
        warmup_ratio=0.4,
        trackers=["tensorboard"],
    )
    rows = runs.store.metrics(run_id)
    steps = [row for row in rows if "loss" in row["values"]]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    for row in steps:
        values = row["values"]
        first = {"memory_first_step"} if row["step"] == 1 else set()
        assert set(values) == STEP | first and all(math.isfinite(value) for value in values.values())
        assert values["seconds"] > 0 and values["memory_device"] > 0
        assert (
            0 < values["memory_allocated"] <= values["memory_reserved"] * 1.01
        )  # both in bytes, the second the peak so far
        assert 0 <= values["padding"] < 1
        assert values["tokens_per_second"] == pytest.approx(values["tokens"] / values["seconds"])
    others = [row for row in rows if "loss" not in row["values"]]
    evaluated, saved = {"eval_loss", "memory_evaluation"}, {"memory_checkpoint"}
    assert [(row["step"], set(row["values"])) for row in others] == [
        (0, {"memory_load"}),
        (2, evaluated),
        (2, saved),
        (4, evaluated),
        (4, saved),
    ]
    assert runs.store.events(run_id, kind="plan")[0]["data"]["memory"] > 500e6  # bytes, those of the process alone
    planned = dict(runs.store.events(run_id, kind="schedule")[0]["data"]["points"])
    assert runs.losses(run_id, "learning_rate") == pytest.approx(planned, rel=1e-5)
    _norms_are_those_of_the_gradient(runs, run_id)
    folder = runs.home.root / "trackers" / "tensorboard" / run_id
    told = {item.step: item.value for item in EventAccumulator(str(folder)).Reload().Scalars("loss")}
    assert told == pytest.approx(runs.losses(run_id))


def _norms_are_those_of_the_gradient(runs, run_id):
    """The layers' norms add up to the norm before clipping, which the trainer measured by itself."""
    found = layer_norms.read(runs.home.run(run_id) / layer_norms.FILE)
    assert found["layers"] == [str(layer) for layer in range(len(found["layers"]))] and len(found["layers"]) > 1
    whole = {row["step"]: math.sqrt(sum(x**2 for x in row["gradient"])) for row in found["rows"]}
    assert set(whole) == {1, 2, 3, 4}
    assert whole == pytest.approx(runs.losses(run_id, "gradient_norm"), rel=2e-3)
    assert all(len(row["weight"]) == len(found["layers"]) and min(row["weight"]) > 0 for row in found["rows"])


def test_a_reading_of_the_device_is_recorded_once(events):
    told = {"time": time.time(), "devices": {"cpu": {"used": 1, "total": 2, "busy": 40.0, "power": 7.5}}}
    events.job.store.set_note("memory", told)
    for step in (1, 2):
        events._read_at = 0.0
        log(events, step, loss=2.0, learning_rate=2e-4)
    rows = [row["values"] for row in events.job.store.metrics(events.job.run_id)]
    assert (rows[0]["utilisation"], rows[0]["power"]) == (40.0, 7.5)
    assert not {"utilisation", "power", "temperature"} & set(rows[1])


@pytest.mark.slow
def test_tokens_are_the_real_ones_of_the_whole_effective_batch(runs):
    """One epoch sees every token of the data once, however it is cut into batches, and padding does not count."""
    plans, seen = [], []
    for batch, batches_a_step in ((2, 2), (8, 1)):
        run_id = runs.start(
            batch_size=batch, gradient_accumulation_steps=batches_a_step, max_steps=None, epochs=1, **QUIET
        )
        plans.append(runs.store.events(run_id, kind="plan")[0]["data"]["tokens"])
        seen.append(sum(row["values"].get("tokens", 0) for row in runs.store.metrics(run_id)))
    assert seen == plans and plans[0] == plans[1] > 0


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_non_finite_loss_is_recorded_and_ends_the_run(events, loss):
    log(events, 1, loss=2.0, learning_rate=2e-4)
    with pytest.raises(StudioError) as caught:
        log(events, 2, loss=loss, learning_rate=2e-4)
    assert str(caught.value).startswith(
        f"The loss became {loss} at step 2: the model broke. Use a learning rate of 6.7e-05 or less"
    )
    assert [row["step"] for row in events.job.store.metrics(events.job.run_id)] == [1, 2]


def test_what_is_no_step_writes_no_row(events):
    log(events, 3, train_runtime=1.0)
    log(events, 3, eval_loss=1.0)
    assert events.job.store.metrics(events.job.run_id) == []


def test_a_row_without_a_gradient_norm(events):
    log(events, 1, loss=2.0, learning_rate=2e-4)
    assert set(events.job.store.metrics(events.job.run_id)[0]["values"]) == STEP - {"gradient_norm", "padding"} | {
        "memory_first_step"
    }


def test_a_new_low_is_kept_and_patience_ends_the_run(events):
    asked = [evaluate(events, step, loss) for step, loss in ((1, 2.0), (2, 1.0), (3, 1.5), (4, 1.0), (5, 0.5))]
    assert [control.should_training_stop for control in asked] == [False, False, False, True, False]
    assert [control.should_save for control in asked] == [True, True, False, True, True]  # 4: to go on from there
    assert events.stopped_early
    text = events.job.store.events(events.job.run_id, kind="log")[0]["data"]
    assert text["text"].startswith("Stopped early") and text["values"] == {"step": 4, "count": 2}


def test_losses_of_an_interrupted_attempt_count(events):
    events.note_losses([1.0, 1.2])
    assert evaluate(events, 3, 1.1).should_training_stop


def test_a_stop_saves_first_and_skips_the_evaluation(events):
    control = TrainerControl(should_evaluate=True)
    events.on_step_end(None, TrainerState(), control)
    assert not control.should_training_stop
    events.job.ask_to_stop()
    events.on_step_end(None, TrainerState(), control)
    assert control.should_training_stop and control.should_save and not control.should_evaluate


@pytest.mark.parametrize(
    ("verb", "saves", "evaluates"), [("pause", True, False), ("discard", False, False), ("finish", True, True)]
)
def test_each_request_ends_the_training_at_the_next_step(events, verb, saves, evaluates):
    events.job.store.command(events.job.id, verb)
    control = TrainerControl()
    events.on_step_end(Mock(eval_strategy="steps"), TrainerState(), control)
    assert control.should_training_stop
    assert (control.should_save, control.should_evaluate) == (saves, evaluates)

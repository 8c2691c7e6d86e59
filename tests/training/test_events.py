"""What a run writes down while it learns: one row an optimiser step, and a sentence when the loss breaks."""

import math
from unittest.mock import Mock

import pytest
from transformers import TrainerControl, TrainerState

from studio.jobs.job import Job
from studio.recipe import Training
from studio.training.events import Events
from studio.words import StudioError

STEP = {
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens",
    "seconds",
    "tokens_per_second",
    "memory_allocated",
    "memory_reserved",
    "memory_device",
}


@pytest.fixture
def events(runs):
    """Events of a job that nobody runs, over a real store; no token has been seen."""
    run_id, job_id = runs.store.create_run("test", {}, "cpu")
    job = Job(runs.store.job(job_id), runs.store, runs.home)
    return Events(job, Training(early_stopping_patience=2), tokens_seen=lambda: 0, samples=list, writes_best=True)


def log(events: Events, step: int, **logs) -> None:
    events.on_log(None, TrainerState(global_step=step), TrainerControl(), logs=logs)


def evaluate(events: Events, step: int, loss: float) -> TrainerControl:
    control = TrainerControl()
    events.on_evaluate(None, TrainerState(global_step=step, max_steps=100), control, metrics={"eval_loss": loss})
    return control


@pytest.mark.parametrize("batches_a_step", [1, 2])
def test_one_row_each_optimiser_step(runs, batches_a_step):
    run_id = runs.start(
        batch_size=2,
        gradient_accumulation_steps=batches_a_step,
        max_steps=4,
        evaluations=2,
        evaluation_rows=0,
        sample_prompts=0,
    )
    rows = runs.store.metrics(run_id)
    steps = [row for row in rows if "loss" in row["values"]]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    for row in steps:
        values = row["values"]
        assert set(values) == STEP and all(math.isfinite(value) for value in values.values())
        assert values["seconds"] > 0 and values["memory_device"] > 0
        assert (
            0 < values["memory_allocated"] <= values["memory_reserved"] * 1.01
        )  # both in bytes, the second the peak so far
        assert values["tokens_per_second"] == pytest.approx(values["tokens"] / values["seconds"])
    others = [row for row in rows if "loss" not in row["values"]]
    assert [(row["step"], set(row["values"])) for row in others] == [(2, {"eval_loss"}), (4, {"eval_loss"})]


def test_tokens_are_the_real_ones_of_the_whole_effective_batch(runs):
    """One epoch sees every token of the data once, however it is cut into batches, and padding does not count."""
    plans, seen = [], []
    for batch, batches_a_step in ((2, 2), (8, 1)):
        run_id = runs.start(
            batch_size=batch,
            gradient_accumulation_steps=batches_a_step,
            max_steps=None,
            epochs=1,
            evaluations=0,
            evaluation_rows=0,
        )
        plans.append(runs.store.events(run_id, kind="plan")[0]["data"]["tokens"])
        seen.append(sum(row["values"]["tokens"] for row in runs.store.metrics(run_id)))
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
    assert set(events.job.store.metrics(events.job.run_id)[0]["values"]) == STEP - {"gradient_norm"}


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

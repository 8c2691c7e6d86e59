"""The life of a run in its worker: paused, ended now, discarded, continued from a checkpoint, trained longer."""

import pytest

from studio.jobs.job import Job, Stopped
from studio.recipe import recipe_from
from studio.training import checkpoints
from studio.training.continuation import longer
from studio.words import StudioError
from tests.training.runs import SHORT, few

CONSTANT = {"lr_scheduler_type": "constant", "warmup_ratio": 0.0}


class AskedJob(Job):
    """A job that gets a request once step `after` is recorded; it obeys at the end of the next step."""

    verb, after = "stop", 0

    def request(self):
        if (self.store.run(self.run_id)["step"] or 0) >= self.after and not self.store.commands(self.id, self.verb):
            self.store.command(self.id, self.verb)
            self._looked = 0.0
        return super().request()


def work(runs, job_id, verb="", after=10**9):
    """Work on a queued job as its worker does; returns its row."""
    from studio.jobs import worker

    job = (AskedJob if verb else Job)(runs.store.job(job_id), runs.store, runs.home)
    job.verb, job.after = verb, after
    assert runs.store.job_started(job_id, 1, 1.0)
    state, reason, result = worker._outcome(job)
    runs.store.job_ended(job_id, state, reason.to_json() if reason else None, result)
    row = runs.store.job(job_id)
    assert state != "failed", row["reason"]
    return row


def queued(runs, **training):
    """A queued run of the tests' short recipe; (run id, job id)."""
    quick = {**SHORT, "learning_rate": 1e-3, "evaluation_rows": 0, "sample_prompts": 0}
    values = {"data": few("captain"), "training": {**quick, **training}}
    return runs.store.create_run("captain", recipe_from(values).to_dict(), "cpu")


def steps(runs, run_id):
    return [item.step for item in checkpoints.listed(runs.home.checkpoints(run_id))]


def continued(runs, run_id, step, lr_schedule=None, **training):
    """Run a new run from a checkpoint of another; returns its id."""
    recipe = runs.store.run(run_id)["recipe"]
    payload = {"from": {"run": run_id, "step": step}, "schedule": lr_schedule}
    recipe = {**recipe, "training": {**recipe["training"], **training}}
    new, job_id = runs.store.create_run("captain, continued", recipe, "cpu", payload)
    assert work(runs, job_id)["state"] == "done"
    return new


@pytest.mark.slow
def test_pause_resume_and_a_checkpoint_continue_on_the_curve_of_an_uninterrupted_run(runs):
    whole, job_id = queued(runs, save_total_limit=3)
    assert work(runs, job_id)["state"] == "done"
    assert steps(runs, whole) == [3, 4, 6]  # also after the end; 3 was written for its validation loss
    losses = runs.losses(whole)

    # At step 3 an evaluation is due: the pause does not wait for it, the resumed run makes up for it.
    paused, job_id = queued(runs, save_total_limit=3)
    assert work(runs, job_id, "pause", after=2)["state"] == "paused"
    assert runs.store.run(paused)["state"] == "paused" and steps(runs, paused)[-1] == 3
    assert not runs.losses(paused, "eval_loss")
    work(runs, runs.store.queue_again(paused, {"resume": True}))
    assert runs.losses(paused) == pytest.approx(losses, abs=1e-6)
    assert runs.losses(paused, "eval_loss") == pytest.approx(runs.losses(whole, "eval_loss"), abs=1e-6)
    assert [item.eval_loss for item in checkpoints.listed(runs.home.checkpoints(paused))] == pytest.approx(
        [item.eval_loss for item in checkpoints.listed(runs.home.checkpoints(whole))], abs=1e-6
    )

    before = steps(runs, whole)
    again = continued(runs, whole, 4)
    assert runs.losses(again) == pytest.approx(losses, abs=1e-6)
    assert runs.losses(again, "eval_loss") == pytest.approx(runs.losses(whole, "eval_loss"), abs=1e-6)
    assert steps(runs, whole) == before and runs.losses(whole) == losses  # the other run is left as it is
    card = runs.store.adapter(again)["card"]
    assert card["continued"] == {"run": whole, "name": "captain", "step": 4, "schedule": None}
    with pytest.raises(StudioError, match="step 5 is not kept"):
        from studio.training.worker import train

        _, job_id = runs.store.create_run(
            "x", runs.store.run(whole)["recipe"], "cpu", {"from": {"run": whole, "step": 5}}
        )
        train(Job(runs.store.job(job_id), runs.store, runs.home))


@pytest.mark.slow
def test_a_finished_run_is_trained_longer_as_if_it_had_been_that_long(runs):
    short, job_id = queued(runs, **{**CONSTANT, "max_steps": 4})
    work(runs, job_id)
    run = runs.store.run(short)
    recipe = longer(recipe_from(run["recipe"]), 3, done=4, examples=24)
    assert recipe.training.max_steps == 7
    more = continued(runs, short, 4, "constant", max_steps=7)
    whole, job_id = queued(runs, **{**CONSTANT, "max_steps": 7})
    work(runs, job_id)
    assert runs.losses(more) == pytest.approx(runs.losses(whole), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lr_schedule", ["rewarm", "last"])
def test_the_learning_rate_after_the_checkpoint(runs, lr_schedule):
    short, job_id = queued(runs, warmup_ratio=0.25, max_steps=4, evaluations=0)
    work(runs, job_id)
    more = continued(runs, short, 4, lr_schedule, max_steps=8)
    rates = runs.losses(more, "learning_rate")
    old = runs.losses(short, "learning_rate")
    assert {step: rates[step] for step in old} == old
    after = [rates[step] for step in range(5, 9)]
    if lr_schedule == "last":
        assert after == pytest.approx([old[4]] * 4) and old[4] > 0
    else:  # one step of warm-up, then a cosine over the other three
        assert after == pytest.approx([0, 1e-3, 7.5e-4, 2.5e-4], rel=1e-3)


@pytest.mark.slow
def test_finish_makes_the_adapter_now_and_discard_leaves_nothing(runs):
    run, job_id = queued(runs)
    row = work(runs, job_id, "finish", after=3)
    assert row["state"] == "done" and runs.store.run(run)["step"] == 4
    assert runs.store.adapter(run)["card"]["metrics"]["eval_loss"] > 0
    assert checkpoints.last(runs.home.checkpoints(run)).eval_loss is not None

    run, job_id = queued(runs)
    row = work(runs, job_id, "discard", after=3)
    assert (row["state"], row["result"]) == ("stopped", {"discarded": True})
    assert steps(runs, run) == [] and runs.store.adapter(run) is None and max(runs.losses(run)) == 4


@pytest.mark.slow
def test_an_adapter_is_made_of_a_checkpoint(runs):
    run, job_id = queued(runs, max_steps=4)
    assert work(runs, job_id, "pause", after=1)["state"] == "paused"
    job_id = runs.store.queue_job("checkpoint", {"step": 2, "name": "captain (step 2)"}, run_id=run)
    made = work(runs, job_id)["result"]["adapter"]
    row = runs.store.adapter(made)
    assert row["name"] == "captain (step 2)" and row["card"]["checkpoint"] == {"run": run, "step": 2}
    assert runs.store.run(run)["state"] == "paused"  # the run itself is as it was
    assert not list(runs.home.run(run).glob("adapter-of-step*"))

    from safetensors.torch import load_file

    saved = load_file(runs.home.adapter(made) / "adapter_model.safetensors")
    kept = load_file(checkpoints.find(runs.home.checkpoints(run), 2).folder / "trainable.safetensors")
    assert len(saved) == len(kept) > 0
    total = sum(float(tensor.double().abs().sum()) for tensor in saved.values())
    assert total == pytest.approx(sum(float(tensor.double().abs().sum()) for tensor in kept.values()), rel=1e-6)


def test_a_request_ends_a_waiting_job_at_once(runs):
    for verb, state in (("pause", "paused"), ("discard", "stopped")):
        run, job_id = queued(runs)
        runs.store.command(job_id, verb)
        assert runs.store.run(run)["state"] == state
    with pytest.raises(Stopped):
        job = Job(runs.store.job(job_id), runs.store, runs.home)
        job.check_stop()

"""Trackers get what the store gets; one that is missing is named before the start, one that fails stops nothing."""

import math
import threading

import pytest

from studio import trackers
from studio.draft import DraftEditor
from studio.jobs.job import Job, Stopped
from studio.trackers import sinks, tracking
from studio.trackers.sinks import About
from studio.trackers.tracking import Tracking
from studio.words import StudioError


@pytest.fixture
def job(home, store):
    _, job_id = store.create_run("test", {}, "cpu")
    return Job(store.job(job_id), store, home)


@pytest.fixture
def about(job, home):
    return About(
        job.run_id, "a name", {"training.learning_rate": 2e-4, "method.targets": ["q"]}, home.root / "trackers"
    )


class Kept:
    """Keeps what it gets."""

    def __init__(self, about, first_step):
        self.first_step, self.got, self.state = first_step, [], None
        type(self).made = self

    def log(self, step, values):
        self.got.append((step, values))

    def close(self, state):
        self.state = state


class Failing(Kept):
    def log(self, step, values):
        if step == 2:
            raise SystemExit("the server is gone")


class Hanging(Kept):
    def log(self, step, values):
        threading.Event().wait()


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    for key, cls in (("kept", Kept), ("failing", Failing), ("hanging", Hanging)):
        monkeypatch.setitem(sinks.SINKS, key, cls)
        monkeypatch.setitem(trackers.TRACKERS, key, (key.title(), f"no_module_{key}", key))


def feed(job, about, *keys):
    with Tracking(job, keys, about) as tracked:
        tracked.first_step = 5
        for step in range(1, 5):
            tracked.log(step, {"loss": 1.0 / step, "broken": math.nan})


def logged(job):
    return [event["data"]["values"] for event in job.store.events(job.run_id, kind="log")]


def test_a_tracker_that_fails_is_named_once_and_stops_nothing(job, about):
    feed(job, about, "failing", "kept")
    assert Kept.made.got == [(step, {"loss": 1.0 / step}) for step in range(1, 5)]
    assert (Kept.made.first_step, Kept.made.state) == (5, "done")
    (values,) = logged(job)
    assert values["tracker"] == "Failing" and "the server is gone" in values["reason"]["values"]["error"]


def test_a_tracker_that_hangs_or_cannot_keep_up_is_left_behind(job, about, monkeypatch):
    monkeypatch.setattr(tracking, "_LAST_SECONDS", 0.1)
    feed(job, about, "hanging")
    assert "did not take the last figures" in logged(job)[0]["reason"]["text"]
    monkeypatch.setattr(tracking, "_WAITING", 1)
    feed(job, about, "hanging")
    assert len(logged(job)) == 2 and "too slow" in logged(job)[1]["reason"]["text"]


def test_how_the_run_ended(job, about):
    for error, state in ((Stopped(), "stopped"), (StudioError("x"), "failed")):
        with pytest.raises(type(error)), Tracking(job, ["kept"], about) as tracked:
            tracked.log(1, {"loss": 1.0})
            raise error
        assert Kept.made.state == state


def test_a_missing_package_is_named_with_its_command_before_the_start(home, store, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "wandb", ("Weights & Biases", "no_such_module", "wandb"))
    assert trackers.missing(["tensorboard"]) is None
    editor = DraftEditor(home, store)
    editor.change(training={**editor.draft()["training"], "trackers": ["tensorboard", "wandb"]})
    problem = str(editor.preflight().problems["machine"])
    assert problem.startswith("Weights & Biases is not installed here: run `pip install wandb`")
    with pytest.raises(StudioError, match="pip install wandb"):
        editor.start()


def tensorboard_figures(about):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(about.folder / "tensorboard" / about.run_id)).Reload()
    return {item.step: item.value for item in found.Scalars("loss")}


def mlflow_figures(about):
    import mlflow

    client = mlflow.MlflowClient(sinks._mlflow_address(about.folder / "mlflow"))
    (run,) = client.search_runs([client.get_experiment_by_name(sinks.PROJECT).experiment_id])
    assert run.data.params["training.learning_rate"] == "0.0002" and run.info.status == "FINISHED"
    return {item.step: item.value for item in client.get_metric_history(run.info.run_id, "loss")}


def wandb_figures(about):
    from wandb.proto import wandb_internal_pb2

    (path,) = (about.folder / "wandb" / "wandb").glob(f"offline-run-*-{about.run_id}/*.wandb")
    # LevelDB's log format, in a file that is shorter than one of its blocks: checksum, length, type, record.
    data, found, at = path.read_bytes(), {}, 7
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 6], "little")
        record = wandb_internal_pb2.Record.FromString(data[at + 7 : at + 7 + length])
        row = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        found |= {int(row["step"]): float(row["loss"])} if "loss" in row else {}
        at += 7 + length
    return found


def trackio_figures(about):
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs(sinks.PROJECT, about.run_id)
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.mark.parametrize(
    ("key", "figures"),
    [
        ("tensorboard", tensorboard_figures),
        ("mlflow", mlflow_figures),
        ("wandb", wandb_figures),
        ("trackio", trackio_figures),
    ],
)
def test_the_figures_are_read_back(job, about, key, figures, monkeypatch):
    pytest.importorskip(trackers.TRACKERS[key][1])  # only TensorBoard is among the tests' requirements
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with Tracking(job, [key], about) as tracked:
        for step in range(1, 5):
            tracked.log(step, {"loss": 1.0 / step})
    assert logged(job) == []
    assert figures(about) == pytest.approx({step: 1.0 / step for step in range(1, 5)})

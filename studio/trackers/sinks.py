"""One class for each tracker: `log` metrics of a step, `close` at the end. Its package is imported when it is made.

A resumed run goes on in the tracker's own record of it where the tracker allows that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROJECT = "delta-studio"
_MLFLOW_PARAMETER = 250  # characters of a value


@dataclass(frozen=True)
class About:
    """The run: id, name, recipe (flat: "training.learning_rate" → value); `folder`, for what trackers keep here."""

    run_id: str
    name: str
    recipe: dict[str, Any]
    folder: Path


class Sink(Protocol):
    """What is fed. Any method may raise anything: it is other people's code, and often a network behind it."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self, state: str) -> None:
        """state: "done", "stopped" or "failed"."""


class TensorBoard:
    """Event files in `folder`/tensorboard/RUN, for `tensorboard --logdir`. Steps that are recorded again replace."""

    def __init__(self, about: About, first_step: int):
        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard" / about.run_id
        self._writer = SummaryWriter(str(folder), purge_step=first_step or None, flush_secs=10)
        rows = "\n".join(f"| {key} | {value} |" for key, value in about.recipe.items())
        self._writer.add_text("recipe", f"| option | value |\n|---|---|\n{rows}", first_step)

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, state: str) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the project `delta-studio`, by wandb's own settings (WANDB_API_KEY, WANDB_MODE, WANDB_PROJECT …)."""

    def __init__(self, about: About, first_step: int):
        import wandb

        folder = about.folder / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        # Without a question on the terminal where nobody is logged in, and without code, console or machine statistics.
        settings = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=about.run_id,
            name=about.name,
            config=about.recipe,
            dir=str(folder),
            resume="allow",
            settings=settings,
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log({"step": step, **values})  # not as wandb's own step, which must not go back after a resume

    def close(self, state: str) -> None:
        self._run.finish(exit_code=0 if state != "failed" else 1)


class MLflow:
    """A run of the experiment `delta-studio` at MLFLOW_TRACKING_URI, else in a database in `folder`/mlflow."""

    _STATES = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}

    def __init__(self, about: About, first_step: int):
        import mlflow

        folder = about.folder / "mlflow"
        folder.mkdir(parents=True, exist_ok=True)
        address = os.environ.get("MLFLOW_TRACKING_URI") or _mlflow_address(folder)
        self._client = mlflow.MlflowClient(address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        earlier = self._client.search_runs([experiment], f"tags.studio_run = '{about.run_id}'", max_results=1)
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(
            experiment, run_name=about.name, tags={"studio_run": about.run_id}
        ).info.run_id
        for key, value in about.recipe.items():
            self._client.log_param(self._id, key, str(value)[:_MLFLOW_PARAMETER])

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def close(self, state: str) -> None:
        self._client.set_terminated(self._id, self._STATES[state])


def _mlflow_address(folder: Path) -> str:
    """A database where mlflow can use one (its small package lacks SQLAlchemy), else plain files."""
    import importlib.util

    if importlib.util.find_spec("sqlalchemy"):
        return f"sqlite:///{folder / 'mlflow.sqlite3'}"
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return folder.as_uri()


class Trackio:
    """A run of the project `delta-studio` in Trackio's own folder (TRACKIO_DIR, else `folder`/trackio)."""

    def __init__(self, about: About, first_step: int):
        folder = about.folder / "trackio"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TRACKIO_DIR", str(folder))  # read when the package is imported
        import trackio

        self._run = trackio.init(
            project=PROJECT,
            name=about.run_id,
            config={**about.recipe, "name": about.name},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self, state: str) -> None:
        self._run.finish()


SINKS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow, "trackio": Trackio}

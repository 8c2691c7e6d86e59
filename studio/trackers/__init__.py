"""Send a run's metrics to other programs while it runs: TensorBoard, Weights & Biases, MLflow, Trackio.

A recipe names the trackers (`training.trackers`); `missing` says before the start which package one of them needs, and
`tracking.Tracking` feeds them from a thread of their own. This module imports none of their packages.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from studio.words import Sentence

# Key → (title, module that must be there, package that pip installs)
TRACKERS = {
    "tensorboard": ("TensorBoard", "tensorboard", "tensorboard"),
    "wandb": ("Weights & Biases", "wandb", "wandb"),
    "mlflow": ("MLflow", "mlflow", "mlflow"),
    "trackio": ("Trackio", "trackio", "trackio"),
}


def title(key: str) -> str:
    return TRACKERS[key][0]


def missing(keys: Sequence[str]) -> Sentence | None:
    """Which command installs the packages that these trackers lack; None if nothing is missing."""
    lack = [key for key in keys if importlib.util.find_spec(TRACKERS[key][1]) is None]
    if not lack:
        return None
    return Sentence(
        "{trackers} is not installed here: run `pip install {packages}` and start again, or untick it.",
        trackers=", ".join(title(key) for key in lack),
        packages=" ".join(TRACKERS[key][2] for key in lack),
    )

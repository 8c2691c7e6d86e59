"""Preferences: losses beside TRL's own, the model before the lesson, stop and resume, and what the sample teaches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.home import SAMPLES, STARTER

REFERENCE = Path(__file__).parent / "reference"
STEPS = {"max_steps": 20, "batch_size": 4, "max_length": 96, "learning_rate": 1e-3, "evaluations": 0, "evaluation_rows": 0, "sample_prompts": 0, "group_by_length": False}


def trl_losses(tmp_path: Path, script: str, **options) -> list[float]:
    values = {"seed": 42, "rank": 8, "alpha": 16, "beta": 0.1, "learning_rate": 1e-3, "steps": 20, "batch": 4, "accumulation": 1, "max_length": 96,
              "folder": str(tmp_path / "trl"), "loss_type": ["sigmoid"], "loss_weights": None, **options}
    command = [sys.executable, str(REFERENCE / script), str(STARTER), str(SAMPLES / "preferences.jsonl"), json.dumps(values)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("task", "training", "theirs"), [
    ({}, {}, {}),
    ({"beta": 0.3, "imitation": 0.5}, {"batch_size": 2, "accumulation": 2}, {"beta": 0.3, "batch": 2, "accumulation": 2, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
    ({"algorithm": "ipo"}, {}, {"loss_type": ["ipo"]}),
], ids=["DPO", "DPO with imitation, accumulated", "IPO"])
def test_the_first_20_losses_are_those_of_trl(runs, tmp_path, task, training, theirs):
    run = runs.start(task={"name": "preference", **task}, data={"source": "preferences", "max_rows": None}, **{**STEPS, **training})
    ours = list(runs.losses(run).values())
    expected = trl_losses(tmp_path, "dpo.py", **theirs)
    assert len(ours) == len(expected) == 20
    assert max(abs(one - other) for one, other in zip(ours, expected, strict=True)) < 1e-5, (ours, expected)

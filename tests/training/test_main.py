"""`python -m studio.training`: a recipe without window and supervisor."""

import subprocess
import sys

import pytest

from studio.home import REPOSITORY, Home
from studio.store import Store


def run(recipe, home):
    return subprocess.run(
        [sys.executable, "-m", "studio.training", str(recipe), "--home", str(home)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.slow
def test_a_preset_runs_in_a_terminal(tmp_path):
    text = (REPOSITORY / "presets" / "captain.yaml").read_text()
    recipe = tmp_path / "short.yaml"
    recipe.write_text(text.replace("epochs: 6", "max_steps: 3, evaluations: 0, evaluation_rows: 2"))
    done = run(recipe, tmp_path / "home")
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.splitlines()[-1].startswith("done: ")
    home = Home(tmp_path / "home")
    assert (home.adapter(Store(home.database).adapters()[0]["id"]) / "adapter_model.safetensors").exists()


def test_an_invalid_recipe_raises_a_studio_error(tmp_path):
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("training: {learning_rate: -1}\nmethod: lorra\n")
    done = run(recipe, tmp_path / "home")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "Learning rate must be more than 0" in done.stderr and "'lorra' is not offered" in done.stderr

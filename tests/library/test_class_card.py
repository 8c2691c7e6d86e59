"""A classifier goes home: the code on its card, run in a fresh process with stock peft and transformers, says the
studio's probabilities."""

import json
import re
import zipfile
from pathlib import Path

import pytest

from studio.chat.classifier import Classifiers
from studio.export.archive import zip_adapter
from studio.export.job import export
from studio.home import SAMPLES, STARTER, STARTER_VIT
from studio.jobs.job import Job
from studio.library import adapter_store
from tests.fresh import fresh_python
from tests.training.runs import Runs, few

CPU = {"quantisation": "none", "precision": "auto", "device": "cpu"}
TEXT = "Please take back order 2474."
SHORT = {"learning_rate": 3e-3, "max_steps": 4, "batch_size": 8, "evaluations": 0, "save_steps": 4}
KINDS = {
    "text": (STARTER, {"task": "classification", "data": few("tickets", 80)}),
    "image": (
        STARTER_VIT,
        {"task": "image", "data": {"source": "leaves", "max_rows": None}, "model": {"name": "starter-vit"}},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("modality", KINDS)
def test_the_code_of_the_card_and_the_merged_model_say_the_same(modality, tmp_path):
    base, recipe = KINDS[modality]
    runs = Runs(tmp_path / "home")
    run = runs.start(**recipe, **SHORT)
    with zipfile.ZipFile(SAMPLES / "leaves.validation.zip") as archive:
        picture = archive.read("spotted/spotted-01.jpg")
    (tmp_path / "picture.png").write_bytes(picture)
    studio = Classifiers(
        base,
        name=recipe.get("model", {}).get("name", "starter"),
        load_options=CPU,
        find=lambda who: adapter_store.find(runs.home, runs.store, who)[:2],
    )
    given = ("", picture) if modality == "image" else (TEXT, b"")
    expected = studio.classify(run, *given)
    by_card(runs, run, base, tmp_path / "adapter", expected)

    job_id = runs.store.queue_job("export", {"adapter": run, "target": "merged"})
    merged = export(Job(runs.store.job(job_id), runs.store, runs.home))
    assert merged["proofs"][0]["difference"] <= 1e-4
    assert studio.classify(merged["adapter"], *given)["probabilities"] == pytest.approx(
        expected["probabilities"], abs=1e-4
    )
    by_card(runs, merged["adapter"], base, tmp_path / "merged", expected)


def by_card(runs: Runs, adapter: str, base: Path, folder: Path, expected: dict) -> None:
    """Take the adapter home and do as its README says."""
    folder.mkdir()
    with zipfile.ZipFile(zip_adapter(runs.home, runs.store, adapter, folder)) as archive:
        archive.extractall(folder)
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1]
    code = (
        re.sub(r'"path/to/starter(-vit)?"', repr(str(base)), code)
        .replace("path/to/this/folder", str(folder))
        .replace("A text to classify.", TEXT)
        .replace("picture.png", str(folder.parent / "picture.png"))
    )
    code = code.replace(
        "print(dict(zip(labels, probabilities.tolist())))",
        "import json; print(json.dumps(dict(zip(labels, probabilities.tolist()))))",
    )
    output = fresh_python(code, cwd=folder)
    assert output.returncode == 0, output.stderr[-2000:] + code
    found = json.loads(output.stdout.splitlines()[-1])
    assert list(found) == expected["labels"] and list(found.values()) == pytest.approx(
        expected["probabilities"], abs=1e-5
    )

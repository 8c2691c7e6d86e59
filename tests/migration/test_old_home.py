"""A home folder that the version of 26 November 2026 made (commit d35795c) opens with its runs, adapters and draft.

It holds a finished chat run with IA3 and its predictions, one of 8 steps, the same one stopped at step 5 with its
checkpoint, a classification run, and a draft with a validation file; `facts.json` names them and their losses.
"""

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from studio import migration
from studio.evaluation import predictions
from studio.home import Home
from studio.library import adapter_store
from studio.migration import current_recipe
from studio.recipe import recipe_from
from studio.store import Store
from tests.training.runs import Runs

ARCHIVE = Path(__file__).with_name("home-2026-11-26.tar.xz")
BEFORE_VERSION_3 = Path(__file__).with_name("home-2026-11-28.tar.xz")


@pytest.fixture
def old(tmp_path):
    """The folder as the earlier version left it, not yet opened."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "home"


@pytest.fixture
def facts(old):
    return json.loads((old / "facts.json").read_text())


def is_part(stored, today) -> bool:
    """Whether today's recipe says what the stored one says; options that are newer have their defaults there."""
    if isinstance(stored, dict) and isinstance(today, dict):
        return all(key in today and is_part(value, today[key]) for key, value in stored.items())
    return stored == today


def test_runs_have_todays_recipes_and_figures(old, facts):
    store = Store(Home(old).database)
    assert len(store.runs()) == 4
    run = store.run(facts["done"])
    recipe = recipe_from(run["recipe"])
    assert is_part(run["recipe"], recipe.to_dict())  # nothing is left for the next opening
    assert (recipe.training.gradient_accumulation_steps, recipe.training.lr_scheduler_type) == (2, "constant")
    assert (recipe.training.warmup_ratio, recipe.training.max_grad_norm) == (0.1, 0.5)
    assert (recipe.training.early_stopping_patience, recipe.training.load_best_model_at_end) == (3, True)
    assert recipe.training.save_steps == 2 and recipe.machine.gradient_checkpointing
    assert recipe.data.validation_fraction == 0.25
    assert run["result"]["metrics"]["intervals"]["exact_match"].keys() == {"base", "fine_tuned", "difference"}
    plan = store.events(facts["done"], kind="plan")[-1]["data"]
    assert (plan["trainable_parameters"], plan["validation"]) == (4480, 80)
    assert {row["step"]: row["values"]["loss"] for row in store.metrics(facts["whole"]) if "loss" in row["values"]} == {
        int(step): loss for step, loss in facts["losses"]["whole"].items()
    }


def test_predictions_and_adapters_are_read(old, facts):
    home = Home(old)
    store = Store(home.database)
    rows = predictions.read(home.run(facts["done"]))
    assert len(rows) == 4 and all(row.fine_tuned for row in rows)
    assert len(store.adapters()) == 3
    for row in store.adapters():
        folder, card = adapter_store.find(home, store, row["id"])[0], row["card"]
        assert is_part(card["recipe"], recipe_from(card["recipe"]).to_dict())
        assert json.loads((folder / "studio.json").read_text())["card"]["recipe"] == card["recipe"]
    assert not (old / "outbox").exists()


def test_the_draft_is_kept(old):
    draft = Store(Home(old).database).note("draft")
    recipe = recipe_from(draft)
    assert recipe.data.validation.endswith("letters.heldout.csv") and recipe.data.validation_fraction == 0
    assert (recipe.training.gradient_accumulation_steps, recipe.training.warmup_ratio) == (4, 0.2)
    assert recipe.machine.gradient_checkpointing


@pytest.mark.slow
def test_a_stopped_run_resumes_with_the_curve_of_an_uninterrupted_one(old, facts):
    Home(old)
    runs = Runs(old)
    runs.resume(facts["stopped"])
    whole = {int(step): loss for step, loss in facts["losses"]["whole"].items()}
    assert runs.losses(facts["stopped"]) == pytest.approx(whole, abs=1e-5)


def test_a_recipe_file_of_before_is_read(old, facts):
    path = old / "runs" / facts["stopped"] / "recipe.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert "accumulation" in values["training"]
    assert recipe_from(values).training.gradient_accumulation_steps == 2
    assert current_recipe(current_recipe(values)) == current_recipe(values)


def test_opening_twice_changes_nothing_more(old):
    Store(Home(old).database).close()
    before = {path: path.read_bytes() for path in old.rglob("*.json*")}
    Store(Home(old).database).close()
    assert {path: path.read_bytes() for path in old.rglob("*.json*")} == before


def test_a_home_with_odd_characters_and_torn_files_opens(old, facts):
    """Half a character, line separators of Unicode, a torn row and a torn card; also after a crash between files and
    database."""
    path = old / "runs" / facts["done"] / "predictions.jsonl"
    first = json.loads(path.read_text().split("\n")[0]) | {"taught": "half \ud83d, \u2028 and \x85"}
    path.write_text(
        json.dumps(first) + "\n" + json.dumps(first | {"taught": "\u2028"}, ensure_ascii=False) + '\n{"torn'
    )
    torn = next((old / "adapters").glob("*/studio.json"))
    torn.write_text('{"name": "x", "ca')
    migration._files(old, {})  # and then the process died
    Store(Home(old).database)
    rows = [json.loads(line) for line in path.read_text().split("\n")[:2]]
    assert [row["fine_tuned"] for row in rows] == [first["taught"], "\u2028"] and path.read_text().endswith('{"torn')
    assert torn.read_text() == '{"name": "x", "ca'


def test_options_of_methods_have_todays_names():
    found = current_recipe({"method": {"name": "tinylora", "numbers": 13}})
    assert recipe_from(found).method.parameters == 13
    found = current_recipe({"method": {"name": "intrinsic_prompt", "stage": "teach", "subspace": "x"}})
    assert recipe_from(found).method.stage == "train"


def test_choices_of_the_data_and_of_the_task_have_todays_names():
    remedies = {"heldout_duplicate": "drop", "apart": "learn"}
    found = current_recipe({"data": {"remedies": remedies}, "task": {"name": "chat", "reasoning": "learn"}})
    assert recipe_from(found).data.remedies == {"validation_duplicate": "drop", "own_validation": "train"}
    assert recipe_from(found).task.reasoning == "train" and current_recipe(found) == found


def test_a_home_of_version_2_has_todays_names_everywhere(tmp_path):
    """It holds a run on rated answers, its adapter, a preview and a deleted adapter, made at commit ac135e4."""
    with tarfile.open(BEFORE_VERSION_3) as archive:
        archive.extractall(tmp_path, filter="data")
    home = Home(tmp_path / "home")
    facts = json.loads((home.root / "facts.json").read_text())
    store = Store(home.database)
    metrics = store.run(facts["run"])["result"]["metrics"]
    assert metrics["reward_accuracy"] == facts["metrics"]["heeded"] and metrics["base_reward_accuracy"] == 0.5
    assert predictions.summarise(predictions.read(home.run(facts["run"])))["intervals"] == json.loads(
        json.dumps(metrics["intervals"]),
        object_hook=lambda found: {
            key: tuple(value) if isinstance(value, list) else value for key, value in found.items()
        },
    )
    cards = [row["card"] for row in (*store.adapters(), *store.previews())]
    files = [*home.root.glob("*/*/studio.json")]
    assert len(files) == 3
    for card in (*cards, *(json.loads(path.read_text())["card"] for path in files)):
        assert (card["artefact_type"], card["overrides_template"]) == ("IA3", True)
        assert not {"ships_as", "lent_template"} & card.keys() and card["metrics"] == metrics

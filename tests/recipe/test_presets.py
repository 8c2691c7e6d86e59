"""Every preset is a recipe, fits over every other, and can be carried out as far as that can be known without running
it."""

import itertools

import pytest

from studio.home import SAMPLES
from studio.methods import METHODS
from studio.models.resolve import STARTERS, local_folder
from studio.models.shape import read_shape
from studio.presets import apply, preset, presets, read_presets
from studio.recipe import Recipe, recipe_from, recipe_from_yaml
from studio.words import StudioError

ALL = presets()


def test_what_is_there():
    assert [item.name for item in presets("sample")] == [
        "captain",
        "tickets",
        "letters",
        "extract",
        "preferences",
        "notes",
        "leaves",
    ]
    assert [item.name for item in presets("effort")] == ["fast_look", "balanced", "best_quality", "smallest_memory"]
    assert [item.order for item in ALL] == sorted({item.order for item in ALL})


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.name)
def test_each_is_a_recipe(item):
    made = recipe_from(apply(item, Recipe().to_dict()))
    assert recipe_from_yaml(made.to_yaml()) == made
    shape = read_shape(local_folder(made.model.name))
    assert (
        made.task.model_refusal(shape) is None and made.method.refusal(shape, made.task.name, made.quantisation) is None
    )
    assert item.description.endswith(".") and str(item.say()).startswith(item.title)


@pytest.mark.parametrize("item", presets("sample"), ids=lambda item: item.name)
def test_samples_have_their_data(item):
    made = recipe_from(apply(item, {}))
    assert made.model.name == STARTERS[made.task.modality] and (made.method.name, made.method.rank) == ("lora", 8)
    assert any(path.stem == made.data.source for path in SAMPLES.iterdir())


@pytest.mark.parametrize("item", presets("effort"), ids=lambda item: item.name)
def test_effort_presets_do_not_change_data_or_task(item):
    assert set(item.values) <= {"method", "training", "machine"}


def test_any_over_any():
    for first, second in itertools.permutations(ALL, 2):
        once = apply(second, apply(first, Recipe().to_dict()))
        assert apply(second, once) == once  # twice is once
        recipe_from(once)


def test_nothing_is_changed_in_place():
    before = Recipe().to_dict()
    for item in ALL:
        apply(item, before)["training"]["epochs"] = 99
    assert before == Recipe().to_dict() and recipe_from(preset("captain").values).training.epochs == 6


def test_the_learning_rate_goes_with_the_method():
    prompt = Recipe.model_validate({"method": "prompt_tuning", "training": {"learning_rate": 0.3}}).to_dict()
    scaled = apply(preset("balanced"), prompt)["training"]["learning_rate"]
    assert scaled == pytest.approx(0.3 * METHODS["lora"].learning_rate / METHODS["prompt_tuning"].learning_rate)
    captain = recipe_from(apply(preset("captain"), {})).to_dict()
    assert apply(preset("best_quality"), captain)["training"]["learning_rate"] == captain["training"]["learning_rate"]


def test_a_sample_keeps_the_machine_and_forgets_the_rest():
    mine = Recipe.model_validate(
        {"name": "old", "machine": {"device": "cpu", "precision": "bf16"}, "training": {"epochs": 50}}
    ).to_dict()
    made = recipe_from(apply(preset("tickets"), mine))
    assert (made.machine.precision, made.training.epochs, made.name) == ("bf16", 3, "Tickets")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: {epochs: 1}", "needs a heading"),
        ("preset: {title: x, description: y, kind: z}", "needs a heading"),
        ("a: [", "not valid YAML"),
        ("text", "needs a heading"),
        ("preset: {title: x, description: y, kind: effort}\ntraining: {epochs: -1}", "Epochs must be more than"),
    ],
)
def test_files_that_do_not_fit(text, says, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(StudioError, match=says):
        read_presets(tmp_path)
    with pytest.raises(StudioError, match="no preset 'mine'"):
        preset("mine")

"""A recipe goes to YAML and back unchanged, and everything that can be wrong in one is a sentence."""

from __future__ import annotations

import pytest

from studio.methods import METHODS
from studio.options import Options, check, form_fields, join, require_valid
from studio.recipe import BaseModelChoice, Machine, Recipe, Training, recipe_from, recipe_from_yaml
from studio.tasks import TASKS
from studio.words import Sentence, StudioError

PARTS: list[type[Options]] = [Training, Machine, BaseModelChoice, *METHODS.values(), *TASKS.values()]
NUMBERS = [(cls, field) for cls in PARTS for field in form_fields(cls) if field["kind"] in ("integer", "number")]


def bounds(cls: type[Options], key: str) -> dict[str, float]:
    metadata = cls.model_fields[key].metadata
    return {name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}


def sentence_for(cls: type[Options], key: str, value) -> str:
    made, wrong = check(cls, {key: value})
    assert made is None, f"{cls.__name__}.{key} = {value} was taken"
    assert list(wrong) == [key]
    return str(wrong[key])


@pytest.mark.parametrize(("cls", "field"), NUMBERS, ids=[f"{cls.__name__}.{field['key']}" for cls, field in NUMBERS])
def test_every_number_has_limits_and_says_so(cls, field):
    limits = bounds(cls, field["key"])
    assert {"ge", "gt"} & set(limits), "no lower limit"
    step = 1 if field["kind"] == "integer" else 0.5
    for name, limit in limits.items():
        value = {"ge": limit - step, "gt": limit, "le": limit + step, "lt": limit}[name]
        text = sentence_for(cls, field["key"], value)
        assert field["title"] in text and str(limit) in text and str(value) in text
    for bad in ("many", [1], {}):
        assert field["title"] in sentence_for(cls, field["key"], bad)
    if field["kind"] == "number":
        for bad in (float("nan"), float("inf")):
            sentence_for(cls, field["key"], bad)


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_forms_are_complete(cls):
    made = cls()
    for field in form_fields(cls):
        assert (
            field["title"]
            and field["help"]
            and field["help"][0].isupper() | field["help"].startswith(("starter", "auto"))
        ), field["key"]
        assert field["help"].endswith((".", "…")), field["help"]
        assert getattr(made, field["key"]) == field["default"]
        if field["kind"] == "choice" and not field["adapters"]:
            assert field["default"] in [choice["value"] for choice in field["choices"]]
            assert "must be one of" in sentence_for(cls, field["key"], "?")


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_unknown_keys_are_refused(cls):
    made, wrong = check(cls, {"lerning_rate": 1})
    assert made is None and "'lerning_rate' is not an option here" in str(wrong["lerning_rate"])


@pytest.mark.parametrize("name", METHODS)
def test_round_trip(name):
    recipe = recipe_from(
        {
            "name": "Käpt'n 船长",
            "method": name,
            "training": {"learning_rate": 3e-3, "max_steps": 7},
            "machine": {"device": "cuda:1"},
        }
    )
    again = recipe_from_yaml(recipe.to_yaml())
    assert again == recipe and again.to_yaml() == recipe.to_yaml() and type(again.method) is METHODS[name]
    assert "船长" in recipe.to_yaml()


def test_an_empty_recipe_is_the_default():
    assert recipe_from({}) == Recipe() and Recipe().method.name == "lora" and Recipe().task.name == "chat"
    assert recipe_from_yaml("method: {name: lora, rank: 4}").method.rank == 4


def test_every_wrong_field_is_named():
    with pytest.raises(StudioError) as caught:
        recipe_from(
            {
                "training": {"learning_rate": 0, "epochs": "x"},
                "machine": {"device": "gpu"},
                "colour": "red",
                "method": {"name": "lora", "rank": 0},
            }
        )
    message = str(caught.value)
    for part in (
        "training.learning_rate: Learning rate must be more than 0",
        "Epochs must be a number",
        "machine.device: Device",
        "'colour' is not an option",
        "at least 1",
    ):
        assert part in message
    assert "学习率必须大于" in caught.value.sentence.say("zh")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"name": "lora", "rank": "abc"}, "method.rank: Rank r must be a whole number, but is 'abc'."),
        ({"name": "lora", "rank": None}, "method.rank: Rank r is missing."),
        ({"name": "adalora", "start_rank": 0}, "method.start_rank: Starting rank r₀ must be at least 2, but is 0."),
    ],
)
def test_an_option_of_a_method_is_called_as_on_the_page(method, says):
    with pytest.raises(StudioError) as caught:
        recipe_from({"method": method})
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"method": "magic"}, "'magic' is not offered; choose one of .*lora"),
        ({"method": {"name": "lora", "ratio": 2}}, "'ratio' is not an option"),
        ({"task": {"name": "dance"}}, "'dance' is not offered"),
        ({"method": {}}, "is not offered"),
        ({"method": None}, "is not offered"),
        ("text", "is not a recipe"),
        ([], "is not a recipe"),
    ],
)
def test_wrong_parts(values, says):
    with pytest.raises(StudioError, match=says):
        recipe_from(values)


def test_broken_yaml_names_its_line():
    with pytest.raises(StudioError, match=r"mine.yaml is not valid YAML \(line 2\)"):
        recipe_from_yaml("training:\n  epochs: 1: 2", "mine.yaml")
    with pytest.raises(StudioError, match="is not a recipe"):
        recipe_from_yaml("")


def test_yaml_runs_no_code():
    with pytest.raises(StudioError):
        recipe_from_yaml("name: !!python/object/apply:os.system ['true']")


def test_quantisation_of_the_method_comes_first():
    assert recipe_from({"method": "qlora"}).quantisation == "nf4"
    assert recipe_from({"machine": {"quantisation": "int8"}}).quantisation == "int8"


def test_must_and_join():
    with pytest.raises(StudioError, match="Seed.*Warm-up|Warm-up.*Seed"):
        require_valid(Training, {"seed": -1, "warmup_ratio": 2})
    assert str(join([Sentence("One."), Sentence("Two."), Sentence("Three.")])) == "One. Two. Three."
    assert (
        Training().effective_batch == 8
        and require_valid(Training, {"batch_size": 2, "gradient_accumulation_steps": 3}).effective_batch == 6
    )


def test_sentences_survive_the_store():
    _, wrong = check(Training, {"epochs": 0})
    again = Sentence.from_json(wrong["epochs"].to_json())
    assert again.say("zh") == wrong["epochs"].say("zh") and again.say("zh").startswith("轮数必须大于 0")

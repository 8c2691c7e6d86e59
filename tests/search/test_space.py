"""What a search may change: the options' own ranges, narrowed by a person, and recipes of their values."""

import pytest

from studio.methods import METHODS
from studio.recipe import Recipe, recipe_from
from studio.search.space import SPACES, Parameter, changed, narrowed, proposed, searchable
from studio.words import StudioError

RECIPE = Recipe.model_validate({"training": {"learning_rate": 2e-3}})


def named(parameters):
    return {each.name: each for each in parameters}


def test_the_proposed_ranges_come_from_the_fields_and_hold_the_recipes_own_values():
    rate = named(proposed(RECIPE, "rate"))["training.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (2e-4, 2e-2, True)
    assert list(named(proposed(RECIPE, "rank_rate"))) == ["training.learning_rate", "method.rank"]
    everything = named(proposed(RECIPE, "everything"))
    assert everything["training.lr_scheduler_type"].choices and everything["method.rank"].whole
    assert not everything["training.warmup_ratio"].log and "training.seed" not in everything
    wide = named(searchable(recipe_from({"method": {"name": "lora", "rank": 256}})))["method.rank"]
    assert (wide.low, wide.high) == (2, 256)
    limited = named(searchable(recipe_from({"training": {"learning_rate": 5}})))["training.learning_rate"]
    assert limited.high == 10


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_ranges_lie_within_its_options_limits(name):
    recipe = Recipe.model_construct(training=RECIPE.training, method=METHODS[name].model_construct(name=name))
    for each in searchable(recipe):
        if not each.choices:
            assert each.low < each.high and each.contains(
                each.value_in({each.part: getattr(recipe, each.part).__dict__})
            )
            assert narrowed(recipe, each) == each


def test_a_range_that_is_none_is_refused_in_one_sentence():
    rate, rank = proposed(RECIPE, "rank_rate")
    assert narrowed(RECIPE, rate, "0.001", 0.002).high == 0.002
    for parameter, low, high, says in (
        (rate, "fast", 1, "Learning rate must be a number, but is 'fast'."),
        (rate, float("nan"), 1, "must be a number"),
        (rate, 0.01, 0.001, "from 0.01 to 0.001"),
        (rate, 0.01, 0.01, "The second must be greater"),
        (rate, 0.1, 11, "Learning rate must be at most 10, but is 11."),
        (rank, 2.5, 8, "Rank r must be a whole number"),
        (rank, 0, 8, "Rank r must be at least 1, but is 0."),
    ):
        with pytest.raises(StudioError, match=says):
            narrowed(RECIPE, parameter, low, high)
    with pytest.raises(StudioError, match="BitFit has no option 'rank'."):
        proposed(recipe_from({"method": {"name": "bitfit"}}), "rank_rate")
    with pytest.raises(StudioError, match="Spaces are rate, rank_rate, everything"):
        proposed(RECIPE, "all")
    assert set(SPACES) == {"rate", "rank_rate", "everything"}


def test_a_try_changes_its_options_and_alpha_follows_the_rank_unless_it_is_searched_too():
    parameters = proposed(RECIPE, "rank_rate")
    made = changed(RECIPE, parameters, {"training.learning_rate": 0.004, "method.rank": 32})
    assert (made.training.learning_rate, made.method.rank, made.method.alpha) == (0.004, 32, 64)
    alpha = named(searchable(RECIPE))["method.alpha"]
    made = changed(RECIPE, [parameters[1], alpha], {"method.rank": 32, "method.alpha": 16.0})
    assert (made.method.rank, made.method.alpha) == (32, 16)
    assert made.training == RECIPE.training and made.data == RECIPE.data
    rate = Parameter(part="training", key="learning_rate", low=1e-4, high=1.23456789e-3, log=True)
    assert rate.rounded(0.000123456) == 0.0001235 and rate.rounded(1.23456789e-3) <= rate.high

"""What is recommended follows from the model, the data and the machine, and each reason says so."""

from dataclasses import replace

import pytest

from studio.forecast import Case, memory_problem, recommend
from studio.hardware import GB, Hardware
from studio.home import STARTER
from studio.methods import METHODS
from studio.models.shape import read_shape
from studio.recipe import recipe_from

BIG = Hardware(cpu="test", cores=8, memory=64 * GB, free=60 * GB, bf16=False)


def llama(layers: int = 32, hidden: int = 4096):
    """A model of some billions of parameters, made of the starter's shape."""
    starter = read_shape(STARTER)
    tensors = {"model.embed_tokens.weight": (32_000, hidden), "lm_head.weight": (32_000, hidden)}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"model.layers.{layer}.self_attn.{name}.weight"] = (hidden, hidden)
        tensors |= {
            f"model.layers.{layer}.mlp.{name}.weight": (2 * hidden, hidden) for name in ("gate_proj", "up_proj")
        }
        tensors[f"model.layers.{layer}.mlp.down_proj.weight"] = (hidden, 2 * hidden)
    return replace(starter, hidden=hidden, layers=layers, intermediate=2 * hidden, vocab_size=32_000, tensors=tensors)


def case(**more) -> Case:
    return replace(Case(recipe_from({}), read_shape(STARTER), [40] * 400, 400, BIG), **more)


def names(**more) -> list[str]:
    return [item.name for item in recommend(case(**more))]


def test_full_fine_tuning_is_recommended_for_a_small_model():
    assert names() == ["lora", "full", "dora"]


def test_qlora_is_recommended_if_lora_does_not_fit():
    found = recommend(case(shape=llama(), hardware=replace(BIG, free=20 * GB)))
    assert found[0].name == "qlora"
    assert "LoRA would need" in str(found[0].reason) and "free" in str(found[0].reason)


def test_the_method_with_the_least_memory_is_named_if_nothing_fits():
    found = recommend(case(shape=llama(), hardware=replace(BIG, free=2 * GB)))
    assert [item.name for item in found] == ["qlora"] and "Make the batch smaller" in str(found[0].reason)


def test_recommendations_depend_on_the_number_of_examples():
    assert "ia3" in names(rows=40, shape=llama(layers=4))
    assert {"full", "rslora"} & set(names(rows=100_000, shape=llama(layers=16)))


@pytest.mark.parametrize("task", ["chat", "text"])
def test_everything_recommended_serves_and_fits(task):
    here = case(recipe=recipe_from({"task": {"name": task}}))
    for item in recommend(here):
        assert METHODS[item.name]().refusal(here.shape, task, "none") is None or METHODS[item.name].quantisation
        assert memory_problem(here.with_method(item.name), here.hardware) is None
        assert item.reason.say("zh") != item.reason.say()


def test_a_switch_that_is_on_counts():
    """Where the base is in 8 bit, DoRA cannot learn and is not recommended."""
    assert "dora" not in names(recipe=recipe_from({"machine": {"quantisation": "int8"}}))

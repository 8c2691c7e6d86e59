"""The capability table is whole, is what the probes find today, and is what the person is told."""

import warnings

import pytest

from studio.home import STARTER
from studio.methods import METHODS
from studio.methods.capabilities import CAPABILITIES, REASONS, YES, cell, rows, unsupported_sentence
from studio.models.shape import read_shape
from studio.recipe import recipe_from
from studio.words import translations
from tests.methods.capabilities import Probes
from tests.sampling import sampled

# One method of each kind of answer: probing one takes eight seconds.
PROBED = {"full", "lora", "qlora", "corda", "fusion", "diff_pruning", "prompt_tuning", "unipelt"}
NEXT = "run: python -m tests.methods.capabilities"


def test_a_row_for_each_method_and_no_empty_cell():
    assert set(rows()) == set(METHODS), NEXT
    for name, row in rows().items():
        assert list(row) == list(CAPABILITIES), f"{NEXT} {name}"
        assert set(row.values()) <= {YES, *REASONS} - {"untried"}, name


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(METHODS, PROBED))
def test_the_row_is_what_the_probes_find(name, adapters, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Probes(name, adapters, tmp_path).row()
    assert found == rows()[name], f"{NEXT} {name}"


@pytest.mark.parametrize("name", METHODS)
def test_the_person_is_told_before_the_run(name):
    method, shape = METHODS[name], read_shape(STARTER)
    for what, machine, training in (
        ("gradient_checkpointing", {"gradient_checkpointing": True}, {}),
        ("packing", {}, {"packing": True}),
        ("nf4", {"quantisation": "nf4"}, {}),
        ("int8", {"quantisation": "int8"}, {}),
    ):
        if method.quantisation and what in ("nf4", "int8"):
            continue  # its own base counts, whatever the machine says
        recipe = recipe_from({"method": {"name": name}, "machine": machine, "training": training})
        assert (
            recipe.conflict() or recipe.method.refusal(shape, "chat", recipe.quantisation)
        ) == recipe.method.unsupported_reason(what)
        assert (recipe.method.unsupported_reason(what) is None) == (cell(name, what) == YES)


def test_every_reason_is_translated():
    for what, capability in CAPABILITIES.items():
        assert capability.title in translations("zh")
        for reason in REASONS:
            text = unsupported_sentence("LoRA", what, reason)
            assert "LoRA" in text.say() and text.say() != text.say("zh")


def test_a_method_without_measurements_has_no_capability():
    assert cell("no such method", "merge") == "untried"

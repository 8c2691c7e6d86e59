"""Virtual tokens take places of the model's context, and what does not fit is said before the run: measured on a GPT-2,
which has a trainable vector for each place."""

import pytest

from studio.methods import METHODS
from studio.models.shape import read_shape
from studio.recipe import recipe_from
from tests.methods.settings import batches, setting

CONTEXT, ROW = 64, batches(1)[0]["input_ids"].shape[1]
OPTIONS = {"prompt_tuning": {"start": "random"}, "prompt_ensemble": {"start": "random"}, "hybrid": {"lora": False}}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(
        GPT2Config(vocab_size=96, n_embd=32, n_layer=4, n_head=4, n_positions=CONTEXT, bos_token_id=1, eos_token_id=2)
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, method in METHODS.items()
        if "virtual_tokens" in method.model_fields and name != "intrinsic_prompt"
    ),
)
def test_context_overflow_is_reported_exactly_where_rows_do_not_fit(gpt2, name):
    from transformers import GPT2LMHeadModel

    for tokens in (CONTEXT - ROW, CONTEXT - ROW + 1):
        values = {"name": name, **OPTIONS.get(name, {}), "virtual_tokens": tokens}
        recipe, fits = recipe_from({"method": values}), True
        try:
            recipe.method.wrap(GPT2LMHeadModel.from_pretrained(gpt2), setting())(**batches(1)[0])
        except IndexError:
            fits = False
        assert fits == (recipe.context_overflow(read_shape(gpt2), ROW) is None), tokens


def test_the_error_names_the_option_and_a_value_that_fits(gpt2):
    shape = read_shape(gpt2)

    def context_overflow(length=512, longest=ROW, **method):
        return recipe_from({"method": method, "training": {"max_length": length}}).context_overflow(shape, longest)

    assert "set Virtual tokens to 56 or less" in str(context_overflow(name="prompt_tuning", virtual_tokens=60))
    assert context_overflow(name="prompt_tuning", virtual_tokens=56) is None
    assert "set Max sequence length to 44 or less" in str(
        context_overflow(name="prompt_tuning", virtual_tokens=20, longest=60)
    )
    assert context_overflow(name="prompt_tuning", virtual_tokens=20, longest=60, length=44) is None
    assert "set Virtual tokens to 32 or less" in str(
        context_overflow(name="prompt_tuning", virtual_tokens=64, longest=100)
    )
    assert "set Max sequence length to 64 or less" in str(context_overflow(name="lora", longest=100))
    assert context_overflow(name="lora", longest=100, length=64) is None

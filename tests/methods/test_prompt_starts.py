"""What prompts before the input begin as, and that P-Tuning's encoder, which peft's own files leave out, outlives a
stop."""

import pytest
import torch
from safetensors.torch import load_file

from studio.home import STARTER
from studio.methods import METHODS, Setting
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from tests.training.runs import QUIET


def prompt(**options) -> torch.Tensor:
    torch.manual_seed(0)
    return (
        METHODS["prompt_tuning"](**options)
        .wrap(load_base(STARTER), Setting(base=STARTER))
        .prompt_encoder["default"]
        .embedding.weight.detach()
    )


def test_prompt_tuning_begins_as_it_was_told():
    table = load_base(STARTER).get_input_embeddings().weight.detach()

    def words(found):
        return all((row == table).all(1).any() for row in found)

    assert words(prompt(start="vocabulary")) and not words(prompt(start="random"))
    ids = ChatTokenizer(STARTER).encode("Answer like a captain.").ids
    for count in (3, len(ids), 2 * len(ids) + 1):  # cut, whole, over and over
        expected = table[torch.tensor([ids[at % len(ids)] for at in range(count)])]
        assert torch.equal(prompt(start="text", text="Answer like a captain.", virtual_tokens=count), expected)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["MLP", "LSTM"])
def test_p_tunings_encoder_is_in_the_checkpoint(encoder, runs):
    method = {"name": "p_tuning", "encoder": encoder, "encoder_hidden": 16}
    short = {**QUIET, "learning_rate": 1e-2}
    whole = runs.losses(runs.start(method, **short))
    run = runs.start(method, stop_after=3, **short)
    saved = load_file(next(runs.home.checkpoints(run).glob("checkpoint-*/trainable.safetensors")))
    assert any("mlp" in name for name in saved) and any("lstm" in name for name in saved) == (encoder == "LSTM")
    runs.resume(run)
    resumed = runs.losses(run)
    assert sorted(resumed) == sorted(whole) and all(abs(resumed[step] - whole[step]) < 1e-5 for step in whole)

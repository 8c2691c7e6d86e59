"""VeRA's claim: at least ten times fewer trainable parameters than LoRA at equal rank (Kopiczko 2023, table 1)."""

import pytest

from studio.home import STARTER
from studio.methods import METHODS
from studio.models.load import load_base
from studio.models.shape import Shape, read_shape


def seven_billion() -> Shape:
    """The attention of Llama-2 7B, where the paper's tables stand."""
    tensors = {
        f"model.layers.{layer}.self_attn.{name}.weight": (4096, 4096)
        for layer in range(32)
        for name in ("q_proj", "v_proj")
    }
    return Shape(
        architecture="LlamaForCausalLM",
        model_type="llama",
        hidden=4096,
        layers=32,
        heads=32,
        key_value_heads=32,
        head_dim=128,
        intermediate=11008,
        vocab_size=32000,
        context=4096,
        tied=False,
        bytes=0,
        tensors=tensors,
    )


@pytest.mark.parametrize("rank", [16, 64, 256])
def test_by_the_formula_on_a_model_of_the_papers_size(rank):
    lora, vera = (
        METHODS[name](rank=rank, targets="q_proj,v_proj").parameter_count(seven_billion()) for name in ("lora", "vera")
    )
    assert lora == 32 * 2 * rank * 2 * 4096 and vera == 32 * 2 * (rank + 4096)
    assert lora >= 10 * vera


@pytest.mark.parametrize("rank", [16, 64])
def test_on_a_real_model(rank):
    counts = {}
    for name in ("lora", "vera"):
        model = METHODS[name](rank=rank).wrap(load_base(STARTER))
        counts[name] = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        assert counts[name] == METHODS[name](rank=rank).parameter_count(read_shape(STARTER))
    assert counts["lora"] >= 10 * counts["vera"]

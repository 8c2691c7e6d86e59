"""S²-Attn: what each token sees, and that it never sees what comes after it (the published form does)."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from studio.tuners.shifted_attention import attention_mask_of, shifted_attention


def made(length: int, heads: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, heads, length, 8, generator=generator, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize(("length", "heads", "group"), [(64, 4, 16), (61, 4, 16), (16, 4, 16), (17, 3, 16), (40, 2, 8)])
def test_shifted_attention_equals_full_attention_with_the_group_mask(length, heads, group):
    parts = made(length, heads)
    expected = scaled_dot_product_attention(*parts, attn_mask=attention_mask_of(length, heads, group))
    found = shifted_attention(*parts, group)
    assert (found - expected).abs().max() < 1e-5
    for first, second in zip(
        torch.autograd.grad(found.square().sum(), parts),
        torch.autograd.grad(expected.square().sum(), parts),
        strict=True,
    ):
        assert (first - second).abs().max() < 1e-4


@pytest.mark.parametrize("architecture", ["Qwen2", "Qwen3", "Llama", "Mistral"])
def test_no_logit_changes_when_a_later_token_does(architecture, tmp_path):
    import transformers

    from studio.methods import METHODS
    from studio.models.load import load_base
    from studio.models.shape import read_shape

    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        sliding_window=None,
    )
    getattr(transformers, f"{architecture}ForCausalLM")(config).save_pretrained(tmp_path)
    method = METHODS["long_lora"](group=16)
    model = method.wrap(load_base(tmp_path)).train()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == method.parameter_count(read_shape(tmp_path))
    assert method.refusal(read_shape(tmp_path), "chat", "none") is None
    ids = torch.randint(0, 96, (1, 100), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(input_ids=ids, use_cache=False).logits
        for at in (1, 8, 40, 60, 99):
            other = ids.clone()
            other[:, at:] = (other[:, at:] + 7) % 96
            changed = (model(input_ids=other, use_cache=False).logits - whole).abs().amax((0, 2))
            assert changed[:at].max() == 0 and changed[at] > 0
        assert (
            model.eval()(input_ids=ids, use_cache=False).logits - whole
        ).abs().max() > 1e-3  # evaluation is not shifted


def test_packed_rows_attend_within_group_and_example():
    """A token of the second example sees neither the first one nor another group."""
    from studio.home import STARTER
    from studio.methods import METHODS
    from studio.models.load import load_base

    torch.manual_seed(0)
    model = METHODS["long_lora"](group=16).wrap(load_base(STARTER)).train()
    ids = torch.randint(3, 3000, (1, 60), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(24), torch.arange(36)])[None]
    with torch.no_grad():
        first = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        other = ids.clone()
        other[:, :24] = 7
        second = model(input_ids=other, position_ids=positions, use_cache=False).logits
    assert (first - second).abs().amax((0, 2))[24:].max() < 1e-5 < (first - second).abs().amax((0, 2))[:24].max()

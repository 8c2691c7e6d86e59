"""S²-Attn, the shifted sparse attention of LongLoRA, without its leak; registered with transformers' AttentionInterface.

Only while learning: rows are cut into groups and each token attends to its own group only, for half of the heads to groups
that are shifted by half a group, so that what is known flows from group to group. The paper rolls the sequence for the
shift, which puts its last tokens before its first ones: they leak (FACTS 12). Here the first and the last half group of
the shifted heads stand alone. In evaluation and generation it is sdpa's full attention. It knows nothing about LoRA.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "studio_shifted"
GROUP = "studio_shifted_group"  # attribute of a model's configuration: tokens of a group, even


def shifted_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    group: int,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Batch × heads × length × size, three times → the same. `group` is even; a length that it does not divide is padded behind."""
    length, heads = query.shape[2], query.shape[1]
    extra = -length % group
    # No real token sees the padding: it stands behind all of them, and attention is causal in each group.
    parts = [pad(part, (0, 0, 0, extra)) for part in (query, key, value)]
    whole = length + extra
    half, straight = group // 2, heads - heads // 2

    def attend(first: int, last: int, start: int, stop: int, size: int) -> torch.Tensor:
        """Heads first…last over the tokens start…stop in groups of `size`."""
        cut = [part[:, first:last, start:stop].unflatten(2, (-1, size)).transpose(1, 2).flatten(0, 1) for part in parts]
        made = scaled_dot_product_attention(*cut, is_causal=True, scale=scale, dropout_p=dropout)
        return made.unflatten(0, (query.shape[0], -1)).transpose(1, 2).flatten(2, 3)

    own = attend(0, straight, 0, whole, group)
    ends = attend(straight, heads, 0, half, half), attend(straight, heads, whole - half, whole, half)
    middle = [attend(straight, heads, half, whole - half, group)] if whole > group else []
    moved = torch.cat([ends[0], *middle, ends[1]], 2)
    return torch.cat([own, moved], 1)[:, :, :length]


def seen(length: int, heads: int, group: int) -> torch.Tensor:
    """The same as a mask: heads × query × key, true where a token is attended to."""
    at = torch.arange(length)
    of_head = torch.stack([at // group] * (heads - heads // 2) + [(at + group // 2) // group] * (heads // 2))
    return (of_head[:, :, None] == of_head[:, None, :]) & (at[:, None] >= at)


def _forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """What transformers calls. Rows no longer than a group are one group: full attention."""
    group = getattr(module.config, GROUP, 0)
    if not module.training or not group or query.shape[2] <= group:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if attention_mask is not None:  # packed rows: right, but no faster than full attention
        mask = attention_mask & seen(query.shape[2], query.shape[1], group).to(query.device)
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    heads = query.shape[1] // key.shape[1]
    made = shifted_attention(
        query, repeat_kv(key, heads), repeat_kv(value, heads), group, scale=scaling, dropout=dropout
    )
    return made.transpose(1, 2).contiguous(), None


def use_shifted(model: torch.nn.Module, group: int) -> None:
    """Let `model` learn with groups of `group` tokens."""
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    setattr(model.config.get_text_config(), GROUP, group)

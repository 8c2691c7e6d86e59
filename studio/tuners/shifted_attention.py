"""S²-Attn, the shifted sparse attention of LongLoRA, without its leak of later tokens; an attention implementation for
transformers' AttentionInterface.

Only in training: the sequence is split into groups, and each token attends only to earlier tokens of its own group. For
half of the heads the groups are shifted by half a group, so that information flows between groups. The paper implements
the shift by rolling the sequence, which puts the last tokens in one group with the first ones, so that they leak
(FACTS.md, item 12). Here the first and the last half group of the shifted heads are separate groups instead. In
evaluation and generation it is full attention (sdpa). Independent of LoRA.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "studio_shifted"
GROUP = "studio_shifted_group"  # attribute of a model's config: group size in tokens, even


def shifted_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    group: int,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Shifted sparse attention. query, key, value and the result: batch × heads × length × head size.

    group: group size in tokens, even. A length that is not a multiple of it is padded on the right.
    """
    length, heads = query.shape[2], query.shape[1]
    extra = -length % group
    # No real token attends to the padding: it comes after all of them, and attention is causal in each group.
    parts = [pad(part, (0, 0, 0, extra)) for part in (query, key, value)]
    whole = length + extra
    half, straight = group // 2, heads - heads // 2

    def attend(first: int, last: int, start: int, stop: int, size: int) -> torch.Tensor:
        """Causal attention of the heads first…last-1 over the tokens start…stop-1 in groups of `size` tokens."""
        cut = [part[:, first:last, start:stop].unflatten(2, (-1, size)).transpose(1, 2).flatten(0, 1) for part in parts]
        made = scaled_dot_product_attention(*cut, is_causal=True, scale=scale, dropout_p=dropout)
        return made.unflatten(0, (query.shape[0], -1)).transpose(1, 2).flatten(2, 3)

    own = attend(0, straight, 0, whole, group)
    ends = attend(straight, heads, 0, half, half), attend(straight, heads, whole - half, whole, half)
    middle = [attend(straight, heads, half, whole - half, group)] if whole > group else []
    moved = torch.cat([ends[0], *middle, ends[1]], 2)
    return torch.cat([own, moved], 1)[:, :, :length]


def attention_mask_of(length: int, heads: int, group: int) -> torch.Tensor:
    """The equivalent boolean attention mask: heads × queries × keys, true where a query attends to a key."""
    at = torch.arange(length)
    of_head = torch.stack([at // group] * (heads - heads // 2) + [(at + group // 2) // group] * (heads // 2))
    return (of_head[:, :, None] == of_head[:, None, :]) & (at[:, None] >= at)


def _forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """The attention function that transformers calls. Rows no longer than one group get full attention."""
    group = getattr(module.config, GROUP, 0)
    if not module.training or not group or query.shape[2] <= group:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if attention_mask is not None:  # packed rows: exact, but no faster than full attention
        mask = attention_mask & attention_mask_of(query.shape[2], query.shape[1], group).to(query.device)
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    heads = query.shape[1] // key.shape[1]
    made = shifted_attention(
        query, repeat_kv(key, heads), repeat_kv(value, heads), group, scale=scaling, dropout=dropout
    )
    return made.transpose(1, 2).contiguous(), None


def use_shifted_attention(model: torch.nn.Module, group: int) -> None:
    """Make `model` use shifted sparse attention in training, with groups of `group` tokens."""
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    setattr(model.config.get_text_config(), GROUP, group)

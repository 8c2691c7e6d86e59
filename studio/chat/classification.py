"""Class probabilities of encoded examples, shared by the Chat tab, the evaluation and the validation metrics.

Knows nothing about where a model came from, nor which labels were expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

THRESHOLD = 0.5  # minimal probability of a predicted label, for multi-label


def text_batch(rows: list[list[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad token ids on the right to one batch: "input_ids" and "attention_mask", each (rows × longest row).

    The attention mask hides the padding from bidirectional models; transformers' classification heads pool at each
    row's last token that is not padding.
    """
    width = max(map(len, rows))
    ids = [row + [pad_id] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def class_logits(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], *, has_virtual_tokens: bool = False
) -> torch.Tensor:
    """Class logits, rows × classes, in float32.

    has_virtual_tokens: virtual tokens stand before the input. The model then no longer sees which tokens are padding
    and would pool at one of them, so rows of different lengths go through it separately.
    """
    mask = inputs.get("attention_mask")
    if not has_virtual_tokens or mask is None or bool(mask.all()):
        return model(**inputs).logits.float()
    lengths = mask.sum(1)
    found: dict[int, torch.Tensor] = {}
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero().squeeze(1)
        logits = model(**{name: tensor[rows, :length] for name, tensor in inputs.items()}).logits.float()
        found |= dict(zip(rows.tolist(), logits, strict=True))
    return torch.stack([found[row] for row in range(len(lengths))])


def class_loss(logits: torch.Tensor, labels: torch.Tensor, sizes: Sequence[int] = ()) -> torch.Tensor:
    """Summed loss: cross-entropy where `labels` are class indices, binary cross-entropy where they are rows of 0 and 1.

    sizes: number of classes in each label set; the logits of the sets are concatenated. `labels` are then rows ×
    sets, class indices within the set, -100 where a row has none; the softmax stays within a set.
    """
    if sizes:
        parts = zip(logits.split(list(sizes), -1), labels.unbind(1), strict=True)
        return torch.stack([cross_entropy(part, own, reduction="sum", ignore_index=-100) for part, own in parts]).sum()
    if labels.dim() == 1:
        return cross_entropy(logits, labels, reduction="sum")
    return binary_cross_entropy_with_logits(logits, labels, reduction="sum")


def probabilities(logits: torch.Tensor, multi_label: bool, sizes: Sequence[int] = ()) -> torch.Tensor:
    """Class probabilities, of the same shape as `logits`: softmax over each row (or over each label set of it), sigmoid
    for multi-label.
    """
    if sizes:
        return torch.cat([part.softmax(-1) for part in logits.split(list(sizes), -1)], -1)
    return logits.sigmoid() if multi_label else logits.softmax(-1)


def predicted_labels(
    row: list[float], names: list[str], multi_label: bool, sizes: Sequence[int] = ()
) -> tuple[str, ...]:
    """The labels that a row of probabilities predicts: the most probable of each label set; for multi-label all of at
    least `THRESHOLD`.

    row: probabilities, or any increasing function of them with 0.5 at probability 0.5.
    """
    if multi_label:
        return tuple(name for name, value in zip(names, row, strict=True) if value >= THRESHOLD)
    ends = list(accumulate(sizes or [len(row)]))
    return tuple(names[max(range(start, end), key=row.__getitem__)] for start, end in pairwise([0, *ends]))

"""Checks before the first training step and after the last one, for failures that have occurred without an error
message.

A failed check raises `StudioError` with advice on what to change. Independent of the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from studio.methods import Method
from studio.models.rope_scaling import apply_adapter
from studio.tasks import Encoded
from studio.training.batches import flatten, pad
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    from studio.training.kinds.base import Kind, TrainingData


def require_trainable_parameters(model: torch.nn.Module, method: Method) -> int:
    """Return the number of trainable parameters; raises StudioError where there are none."""
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if not count:
        raise StudioError(
            "{method} found nothing to learn in this model; choose other target modules or another method.",
            method=Sentence(method.title),
        )
    return count


def labelled(kept: Sequence[Encoded], left: int, max_length: int) -> None:
    """Raise StudioError where no example has a labelled token. left: number of examples that were left out because they
    have none.
    """
    if not kept:
        raise StudioError(
            "{count:The only example has no|None of the {count} examples has a} token to learn: "
            "every answer lies beyond {length} tokens or is empty. Raise Max sequence length, or look at the Data tab.",
            count=left,
            length=max_length,
        )


@torch.no_grad()
def packing_matches_padding(model: torch.nn.Module, examples: Sequence[Encoded], pad_id: int) -> None:
    """Compare the model's logits for packed examples with those for single rows; raise StudioError where they differ.

    Some architectures do not support packing and give no error: with OPT the logits differ by 0.5.
    """
    items = [{"input_ids": e.ids[:64], "labels": e.labels[:64]} for e in examples[:3]]
    device = next(model.parameters()).device
    packed = (
        model(**{k: v.to(device) for k, v in flatten(items).items() if k != "labels"}, use_cache=False)
        .logits[0]
        .float()
    )
    at, worst = 0, 0.0
    for item in items:
        single = model(input_ids=pad([item], pad_id)["input_ids"].to(device), use_cache=False).logits[0].float()
        worst = max(worst, (packed[at : at + len(single)] - single).abs().max().item())
        at += len(single)
    limit = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.15
    if worst > limit:
        raise StudioError(
            "Packing is not exact in this model (logits differ by {worst:.2g}); switch Packing off.", worst=worst
        )


def reloaded_logits_match(kind: Kind, folder: Path, material: TrainingData, expected: torch.Tensor) -> float:
    """Load the artefact in `folder` as stock peft or transformers does and compare its logits with `expected`.

    Returns the largest absolute difference; raises StudioError where it exceeds the tolerance.
    """
    recipe = kind.recipe
    whole = recipe.method.artefact_type == "model"
    model = kind.load(folder if whole else kind.base)
    if not whole:
        model = apply_adapter(model, folder)
    worst = (kind.probe(model, material) - expected).abs().max().item()
    exact = next(model.parameters()).dtype == torch.float32 and recipe.quantisation == "none"
    if worst > (1e-3 if exact else 0.25):
        raise StudioError(
            "Loaded again from disk, the result does not give the same answers (logits differ by {worst:.2g}). "
            "If the base model's files were changed during the run, start it again; else please report this. "
            "The last checkpoint is kept.",
            worst=worst,
        )
    return worst

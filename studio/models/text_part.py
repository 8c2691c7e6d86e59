"""Remove the image and audio parts of a loaded multimodal model, and restore them for saving. Used in workers only.

transformers loads Gemma 3, Gemma 4 and Mistral 3 with their image and audio encoders. These are removed, so that they
take no memory on the device and no method adapts them (they would get no gradient), and restored before a full model is
saved. The names of the other modules do not change, so an adapter also fits the complete model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PARTS = ("vision_tower", "multi_modal_projector", "audio_tower", "embed_vision", "embed_audio")
_ASIDE = "_aside"  # attribute of a model that holds its removed parts


def remove_other_parts(model: torch.nn.Module, *, keep: bool) -> None:
    """Remove the image and audio parts of `model`, a transformers model with a head.

    keep: whether they are kept in CPU memory for `restore_other_parts`.
    """
    inner = getattr(model, "model", None)
    if not hasattr(inner, "language_model"):
        return
    found = {name: inner._modules.pop(name) for name in _PARTS if name in inner._modules}
    if keep:
        model.__dict__[_ASIDE] = {name: part.to("cpu") for name, part in found.items() if part is not None}


def restore_other_parts(model: torch.nn.Module) -> torch.nn.Module:
    """Put the removed parts back into `model`, in the dtype and on the device of its first weight, for saving it."""
    weight = next(model.parameters())
    for name, part in model.__dict__.pop(_ASIDE, {}).items():
        model.model.add_module(name, part.to(weight.device, weight.dtype))
    return model

"""The parts of a loaded model that no text goes through: what looks at pictures or hears. Runs in workers only.

transformers loads Gemma 3, Gemma 4 and Mistral 3 whole. What looks and hears is taken out of them, so that it takes no
memory on the device and no method adapts or trains it (it would get no gradient); whoever saves a whole model puts it
back before that. The names of the others stay as transformers has them, so an adapter fits the whole model too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PARTS = ("vision_tower", "multi_modal_projector", "audio_tower", "embed_vision", "embed_audio")
_ASIDE = "_aside"  # where a model remembers what was taken out


def remove_other_parts(model: torch.nn.Module, *, keep: bool) -> None:
    """Take what looks and hears out of `model`, a transformers model with a head. keep: whether it is kept on the CPU for `put_back`."""
    inner = getattr(model, "model", None)
    if not hasattr(inner, "language_model"):
        return
    found = {name: inner._modules.pop(name) for name in _PARTS if name in inner._modules}
    if keep:
        model.__dict__[_ASIDE] = {name: part.to("cpu") for name, part in found.items() if part is not None}


def restore_other_parts(model: torch.nn.Module) -> torch.nn.Module:
    """`model` with what `take_out` kept, in the dtype and on the device of its first weight, for saving it whole."""
    weight = next(model.parameters())
    for name, part in model.__dict__.pop(_ASIDE, {}).items():
        model.model.add_module(name, part.to(weight.device, weight.dtype))
    return model

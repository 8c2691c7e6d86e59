"""Whether this machine can fine-tune a model on offer, judged by its size alone: before it is downloaded there is no shape to forecast from."""

from __future__ import annotations

from studio.hardware import GB, Hardware, choose_device, gigabytes
from studio.methods import Method
from studio.models.catalogue import CatalogueEntry
from studio.words import Sentence

_FULL = 16  # bytes a parameter while all are fine-tuned: 4 each for weight and gradient, 8 for AdamW
_QUANTISED = {
    "nf4": 0.52,
    "int8": 1.01,
}  # bytes a frozen weight in a linear layer; embeddings and experts stay in 32 bit
_MARGIN = 1.1  # the delta with its gradients and states
_REST = GB  # activations of a small batch, and the process


def memory_needed(
    offer: CatalogueEntry, method: Method | type[Method], *, device: str = "cpu", quantisation: str = "none"
) -> int:
    """Bytes that teaching the model takes at the least, before its shape is known. `forecast` is exact once it is."""
    quantised = method.quantisation or quantisation
    frozen = 4 if device == "cpu" else 2
    if quantised in _QUANTISED:
        kept = offer.experts or min(
            0.35, 0.25 / offer.parameters**0.5
        )  # the embeddings' share: a quarter at 1 B, 3 % at 70 B
        frozen = (1 - kept) * _QUANTISED[quantised] + kept * 4
    each = _FULL if method.ships_as == "model" else frozen * _MARGIN
    return round(offer.parameters * 1e9 * each + (_REST if offer.parameters > 0.05 else _REST // 2))


def fits(
    offer: CatalogueEntry,
    hardware: Hardware,
    method: Method | type[Method],
    *,
    device: str = "auto",
    quantisation: str = "none",
) -> Sentence | None:
    """Why the model is too big to be fine-tuned here with `method`, or does not go with the quantisation; None where it fits."""
    if offer.stored_as and (method.quantisation or quantisation) != "none":
        return Sentence(
            "{model} is stored in MXFP4 and becomes 16 bit while it is loaded, so it cannot be quantised in another way as well; choose LoRA, with quantisation off.",
            model=offer.title,
        )
    device = choose_device(device, hardware)
    needed = memory_needed(offer, method, device=device, quantisation=quantisation)
    # A GPU is emptied for training; what others hold of the main memory stays theirs.
    room = hardware.free if device == "cpu" else hardware.memory_of(device)
    if needed <= room:
        return None
    values = {
        "model": offer.title,
        "needed": gigabytes(needed),
        "method": method.title,
        "device": hardware.short(device),
        "room": gigabytes(room),
    }
    if (method.quantisation or quantisation) == "nf4" or offer.experts > 0.5:
        return Sentence(
            "{model} needs about {needed} GB with {method}, but {device} has {room} GB; choose a smaller model.",
            **values,
        )
    return Sentence(
        "{model} needs about {needed} GB with {method}, but {device} has {room} GB; choose a smaller model, or QLoRA.",
        **values,
    )

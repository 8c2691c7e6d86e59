"""Whether this machine can fine-tune a model of the catalogue, judged by its parameter count alone: the shape that
`forecast` needs is unknown before the download.
"""

from __future__ import annotations

from studio.hardware import GB, Hardware, choose_device, gigabytes
from studio.methods import Method
from studio.models.catalogue import CatalogueEntry
from studio.words import Sentence

_FULL = 16  # bytes per parameter in full fine-tuning: 4 each for weight and gradient, 8 for AdamW's state
_QUANTISED = {
    "nf4": 0.52,
    "int8": 1.01,
}  # bytes per frozen weight in a linear layer; embeddings and experts stay in 32 bit
_MARGIN = 1.1  # factor for the delta with its gradients and optimiser state
_REST = GB  # activations of a small batch, and the process itself


def memory_needed(
    offer: CatalogueEntry, method: Method | type[Method], *, device: str = "cpu", quantisation: str = "none"
) -> int:
    """Minimal number of bytes to fine-tune the model, estimated without its shape; `forecast` is more accurate."""
    quantised = method.quantisation or quantisation
    frozen = 4 if device == "cpu" else 2
    if quantised in _QUANTISED:
        kept = offer.experts or min(
            0.35, 0.25 / offer.parameters**0.5
        )  # fraction of the embeddings: a quarter at 1 B parameters, 3 % at 70 B
        frozen = (1 - kept) * _QUANTISED[quantised] + kept * 4
    each = _FULL if method.artefact_type == "model" else frozen * _MARGIN
    return round(offer.parameters * 1e9 * each + (_REST if offer.parameters > 0.05 else _REST // 2))


def fits(
    offer: CatalogueEntry,
    hardware: Hardware,
    method: Method | type[Method],
    *,
    device: str = "auto",
    quantisation: str = "none",
) -> Sentence | None:
    """The reason why the model cannot be fine-tuned on this machine with `method`: it needs too much memory or does not
    support the quantisation. None if it fits.
    """
    if offer.stored_as and (method.quantisation or quantisation) != "none":
        return Sentence(
            "{model} is stored in MXFP4 and becomes 16 bit while it is loaded, "
            "so it cannot be quantised in another way as well; choose LoRA, with quantisation off.",
            model=offer.title,
        )
    device = choose_device(device, hardware)
    needed = memory_needed(offer, method, device=device, quantisation=quantisation)
    # A GPU's whole memory is freed for training; main memory that other processes use is not.
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

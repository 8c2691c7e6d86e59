"""Context extension of a loaded model by linear RoPE scaling (position interpolation, Chen 2023, arXiv:2306.15595).

peft's adapter_config.json does not store it, so an adapter trained with it has an additional file, `rope.json`:
{"factor", "rope_parameters", "max_position_embeddings"}, the last two as in the base model's config.json.
`apply_adapter` restores it. Independent of the adapter's type, and imports no torch.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

from studio.words import StudioError

if TYPE_CHECKING:
    import torch

ROPE_FILE = "rope.json"
_ORIGINAL = "_own_context"  # attribute of a scaled model that holds its original values


def supports_rope_scaling(model: torch.nn.Module) -> bool:
    """Whether the model has rotary position embeddings that are not already scaled."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    return rope.get("rope_type") == "default" and bool(_rotary_embeddings(model))


def apply_rope_scaling(model: torch.nn.Module, factor: float) -> None:
    """Scale the (transformers) model's context by `factor`; 1 restores the original. Cheap and idempotent.

    Raises StudioError where the model has no unscaled rotary position embeddings.
    """
    config = model.config.get_text_config()
    original = model.__dict__.get(_ORIGINAL)
    if original is None:
        if factor == 1:
            return
        if not supports_rope_scaling(model):
            raise StudioError(
                "The context of {architecture} cannot be extended: it has no unscaled rotary position embeddings "
                "(RoPE). Choose another base model.",
                architecture=type(model).__name__,
            )
        original = model.__dict__[_ORIGINAL] = (
            copy.deepcopy(config.rope_parameters),
            config.max_position_embeddings,
            [module.inv_freq.clone() for module in _rotary_embeddings(model)],
        )
    rope, context, frequencies = original
    config.rope_parameters = (
        copy.deepcopy(rope) if factor == 1 else {**copy.deepcopy(rope), "rope_type": "linear", "factor": float(factor)}
    )
    config.max_position_embeddings = round(context * factor)
    for module, frequency in zip(_rotary_embeddings(model), frequencies, strict=True):
        module.inv_freq = frequency.to(module.inv_freq.device) / factor
        module.original_inv_freq = module.inv_freq.clone()
        module.rope_type = config.rope_parameters["rope_type"]
        module.max_seq_len_cached = module.original_max_seq_len = config.max_position_embeddings


def save_rope_scaling(model: torch.nn.Module, factor: float, folder: Path) -> None:
    """Write `rope.json` into an adapter's folder."""
    config = model.config.get_text_config()
    scaling = {
        "factor": factor,
        "rope_parameters": config.rope_parameters,
        "max_position_embeddings": config.max_position_embeddings,
    }
    (folder / ROPE_FILE).write_text(json.dumps(scaling, indent=1) + "\n", encoding="utf-8")


def read_rope_scaling(folder: Path) -> dict | None:
    """Read `rope.json` in an adapter's folder; None if there is none. Raises StudioError if it is invalid."""
    path = Path(folder) / ROPE_FILE
    if not path.exists():
        return None
    try:
        scaling = json.loads(path.read_text(encoding="utf-8"))
        return {
            "factor": float(scaling["factor"]),
            "rope_parameters": dict(scaling["rope_parameters"]),
            "max_position_embeddings": int(scaling["max_position_embeddings"]),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(
            "{path} cannot be read, so the context length that the adapter was trained with is unknown; import "
            "the adapter again.",
            path=path,
        ) from error


def apply_adapter(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """Load the adapter in `folder` onto the base `model` with stock peft, and restore its RoPE scaling."""
    from peft import PeftModel

    apply_rope_scaling(model, rope_factor(folder))
    return PeftModel.from_pretrained(model, str(folder))


def rope_factor(folder: Path) -> float:
    """The factor by which the adapter in `folder` scales the context of its base model; 1 without scaling."""
    scaling = read_rope_scaling(folder)
    return scaling["factor"] if scaling else 1.0


def _rotary_embeddings(model: torch.nn.Module) -> list:
    return [module for module in model.modules() if hasattr(module, "inv_freq") and hasattr(module, "rope_type")]

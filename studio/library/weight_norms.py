"""Frobenius norms of an adapter's weights for each layer of the model, from its safetensors file, without torch.

For LoRA it is the norm of the effective change of the weights, ΔW = s·B·A with the scaling s of its configuration,
computed from A·Aᵀ and Bᵀ·B, so that ΔW itself is never built. For other types it is the norm of the stored tensors.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors

MAX_BYTES = 2_000_000_000  # of a file that is read
LAYER = re.compile(r"\.(?:layers|layer|h|blocks|block)\.(\d+)\.")
_PAIR = {".lora_A.weight": ".lora_B.weight", ".lora_embedding_A": ".lora_embedding_B"}
_KINDS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


@dataclass(frozen=True)
class WeightNorms:
    """effective: whether they are norms of ΔW, else of stored tensors. layers: number of a layer → norm of all that the
    adapter holds for it. other: name of a part outside the numbered layers → norm.
    """

    effective: bool
    layers: dict[int, float]
    other: dict[str, float]


def weight_norms(folder: Path) -> WeightNorms | None:
    """The norms of the adapter in `folder`; None if it has no weight file or one that cannot be read or is too large.

    Cached as long as the file does not change.
    """
    path = Path(folder) / "adapter_model.safetensors"
    try:
        found = path.stat()
        return _norms(path, found.st_mtime_ns, found.st_size) if found.st_size <= MAX_BYTES else None
    except (OSError, ValueError, safetensors.SafetensorError):
        return None


@lru_cache(maxsize=256)
def _norms(path: Path, changed: int, size: int) -> WeightNorms:
    """changed, size: of the file, part of the cache key."""
    tensors = {name: _array(item) for name, item in safetensors.deserialize(path.read_bytes())}
    config = json.loads((path.parent / "adapter_config.json").read_text(encoding="utf-8"))
    effective = _is_plain_lora(config, tensors)
    squares = (
        _lora_squares(config, tensors) if effective else {name: float((x**2).sum()) for name, x in tensors.items()}
    )
    layers, other = defaultdict(float), defaultdict(float)
    for name, square in squares.items():
        if match := LAYER.search(f".{name}."):
            layers[int(match[1])] += square
        else:
            other[_part(name)] += square
    return WeightNorms(
        effective,
        {layer: math.sqrt(layers[layer]) for layer in sorted(layers)},
        {part: math.sqrt(other[part]) for part in sorted(other)},
    )


def _is_plain_lora(config: dict, tensors: dict[str, np.ndarray]) -> bool:
    return (
        config.get("peft_type") == "LORA"
        and not config.get("use_dora")
        and all(x.ndim == 2 for name, x in tensors.items() if ".lora_" in name and not name.endswith(".bias"))
    )


def _lora_squares(config: dict, tensors: dict[str, np.ndarray]) -> dict[str, float]:
    """Name of a layer → ‖ΔW‖²; tensors that belong to no pair (trained modules, biases) count with their own norm."""
    found = {}
    for name, down in tensors.items():
        pair = next(((a, b) for a, b in _PAIR.items() if name.endswith(a)), None)
        if pair:
            layer = name.removesuffix(pair[0])
            up = tensors[layer + pair[1]]
            # ‖B·A‖² = trace((Bᵀ·B)·(A·Aᵀ)), two matrices of rank × rank
            square = float(((down @ down.T) * (up.T @ up)).sum())
            found[layer] = max(0.0, square) * _scaling(config, layer, down.shape[0]) ** 2
        elif not name.endswith(tuple(_PAIR.values())):
            found[name] = float((down**2).sum())
    return found


def _scaling(config: dict, layer: str, rank: int) -> float:
    """peft's scaling of a layer: α/r, or α/√r with rsLoRA; `alpha_pattern` may say another α for it."""
    alpha = config.get("lora_alpha") or 8
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            alpha = value
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _array(item: dict) -> np.ndarray:
    """A tensor of safetensors as float64; bfloat16, which numpy lacks, is the upper half of a float32."""
    data, shape = item["data"], item["shape"]
    if item["dtype"] in ("BF16", "bfloat16"):
        values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif item["dtype"] in _KINDS:
        values = np.frombuffer(data, _KINDS[item["dtype"]])
    else:  # indices and masks say nothing about sizes
        values = np.zeros(math.prod(shape), np.float32)
    return values.reshape(shape).astype(np.float64)


def _part(name: str) -> str:
    """The name of the part that a tensor outside the layers belongs to, without peft's prefix and the tensor's own."""
    short = re.sub(r"^base_model\.model\.", "", name)
    return re.sub(r"\.(weight|bias|lora_\w+)$", "", short).removeprefix("model.") or name

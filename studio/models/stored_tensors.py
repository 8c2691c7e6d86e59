"""The tensors in a model folder's safetensors files: names, sizes and dtypes, read from the headers alone.

Also their names and sizes in the loaded model, where transformers changes them while loading. Uses no torch. Header of
a safetensors file: 8 bytes little-endian length, then JSON (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

from studio.models.folders import WEIGHTS_FILE, read_index, weight_files
from studio.words import StudioError

_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
# Tensors of ViT and related models that transformers renames while loading, in this order.
_RENAMED_ON_LOAD = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def stored_tensors(folder: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name on disk → (size, dtype) of every tensor that transformers would load. Raises StudioError if a tensor of the
    index is missing in its file.
    """
    tensors: dict[str, tuple[tuple[int, ...], str]] = {}
    headers = {path.name: read_header(path) for path in weight_files(folder)}
    for header in headers.values():
        tensors.update(
            {name: (tuple(item["shape"]), item["dtype"]) for name, item in header.items() if name != "__metadata__"}
        )
    if headers.keys() != {WEIGHTS_FILE}:
        for name, file in read_index(folder).items():
            if name not in headers[file]:
                raise StudioError(
                    "model.safetensors.index.json in '{folder}' says that {file} holds the tensor {name}, but it "
                    "does not; download the model again.",
                    folder=folder,
                    file=file,
                    name=name,
                )
    return tensors


def tensors_in_memory(folder: Path) -> tuple[dict[str, tuple[int, ...]], int, bool]:
    """(name in memory → size in memory, bytes on disk, whether some are stored in MXFP4)."""
    stored = stored_tensors(folder)
    names = loaded_names(stored)
    found, packed = {}, False
    for name, (size, _) in stored.items():
        if name.endswith("_blocks") and f"{name.removesuffix('_blocks')}_scales" in stored:
            packed = True
            experts, outputs, groups, width = size  # two weights per byte
            found[names[name].removesuffix("_blocks")] = (experts, 2 * groups * width, outputs)
        elif not (name.endswith("_scales") and f"{name.removesuffix('_scales')}_blocks" in stored):
            found[names[name]] = size
    return found, sum(math.prod(size) * _BYTES.get(dtype, 2) for size, dtype in stored.values()), packed


def loaded_names(stored: Iterable[str]) -> dict[str, str]:
    """Name of a tensor on disk → its name in the loaded model, which peft uses. transformers 5 renames tensors of ViT
    and related models, and of multimodal models, while loading.
    """
    names = {name: name for name in stored}
    if any(".linear_attn." in name for name in names):  # Qwen3.5: only the text part is loaded
        return {name: name.replace("model.language_model.", "model.", 1) for name in names}
    if any(name.startswith("language_model.") for name in names):
        # Llama 4: only the text part is loaded.
        alone = any(".feed_forward." in name for name in names if name.startswith("language_model."))
        return {name: name.removeprefix("language_model.") if alone else _inside(name) for name in names}
    if not any("attention.attention.query" in name for name in names):
        return names
    for name in names:
        for then, now in _RENAMED_ON_LOAD.items():
            names[name] = names[name].replace(then, now)
    if not any(".mlp.fc1" in name for name in stored):  # not DINOv2, which has other names for its MLP and blocks
        names = {name: now.replace(".encoder.layer.", ".layers.") for name, now in names.items()}
    return names


def _inside(name: str) -> str:
    """Name in memory of the tensor `name` of a multimodal model that is loaded completely: Gemma 3 and Mistral 3."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model."):
        return "model." + name.replace("language_model.model.", "language_model.", 1)
    return f"model.{name}" if name.startswith(("vision_tower.", "multi_modal_projector.")) else name


def read_header(path: Path) -> dict:
    """The header of a safetensors file: name → {"dtype", "shape", "data_offsets"}, and "__metadata__" where present.

    Raises StudioError if the file is damaged or shorter than its header says.
    """
    damaged = StudioError(
        "The weight file '{path}' is incomplete or not safetensors; download the model again.", path=path
    )
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= 100_000_000:
            raise damaged
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise damaged from error
    ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
    if ends and path.stat().st_size < 8 + length + max(ends):
        raise damaged
    return header

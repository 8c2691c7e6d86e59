"""Write tensors to a GGUF file one by one, rounded to a format. Used in workers only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.words import StudioError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

FORMATS = {
    "F32": "ALL_F32",
    "F16": "MOSTLY_F16",
    "BF16": "MOSTLY_BF16",
    "Q8_0": "MOSTLY_Q8_0",
    "Q5_1": "MOSTLY_Q5_1",
    "Q5_0": "MOSTLY_Q5_0",
    "Q4_1": "MOSTLY_Q4_1",
    "Q4_0": "MOSTLY_Q4_0",
}
"""Format → gguf's name of the file type. The k-quants (Q4_K_M and so on) can be read but not written by gguf."""
TENSOR_ERROR = {
    "F32": 0.0,
    "F16": 2.0**-11,
    "BF16": 2.0**-8,
    "Q8_0": 1 / 254 + 2.0**-11,
    "Q5_1": 1 / 31 + 2.0**-10,
    "Q5_0": 1 / 16 + 2.0**-11,
    "Q4_1": 1 / 15 + 2.0**-10,
    "Q4_0": 1 / 8 + 2.0**-11,
}
"""Format → largest error of a weight, as a share of the largest weight of its tensor, that its steps allow."""
_COARSE = ("Q5_1", "Q5_0", "Q4_1", "Q4_0")
_SMALLEST_F16 = 6e-8  # below it, weights in F16 become zero


@dataclass
class Entry:
    """A tensor to be written. name: llama.cpp's. load: returns it in fp32, in llama.cpp's form."""

    name: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    format: str


def format_of(name: str, shape: tuple[int, ...], wanted: str) -> str:
    """The format of one tensor in a file of the format `wanted`.

    As in llama.cpp: vectors stay F32; rows that do not fill blocks of 32 become F16. The embeddings and the output
    layer of coarse files stay Q8_0, as they suffer most.
    """
    if len(shape) < 2:
        return "F32"
    if wanted in _COARSE and name in ("token_embd.weight", "output.weight"):
        wanted = "Q8_0"
    if wanted.startswith("Q") and shape[-1] % 32:
        return "F16"
    return wanted


def quantised(tensor: np.ndarray, form: str) -> np.ndarray:
    """The tensor in the bytes of the format."""
    from gguf import quantize

    return quantize(tensor, quantization_type(form))


def rounded(tensor: np.ndarray, form: str) -> np.ndarray:
    """The tensor in fp32 as it will be read back from the format."""
    from gguf import dequantize

    return dequantize(quantised(tensor, form), quantization_type(form)).reshape(tensor.shape)


def quantization_type(form: str) -> GGMLQuantizationType:
    """gguf's constant for a format."""
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType[form]


def write_tensors(writer: GGUFWriter, entries: list[Entry], each: Callable[[Iterable, int], Iterable]) -> None:
    """Write the metadata gathered in `writer` and then each tensor. each(items, count): reports progress."""
    import numpy as np
    from gguf import quant_shape_to_byte_shape

    for entry in entries:
        kind = quantization_type(entry.format)
        if entry.format in ("F32", "F16"):
            dtype = np.dtype(np.float32 if entry.format == "F32" else np.float16)
            size = int(np.prod(entry.shape)) * dtype.itemsize
            writer.add_tensor_info(entry.name, entry.shape, dtype, size, kind)
        else:
            shape = quant_shape_to_byte_shape(entry.shape, kind)
            writer.add_tensor_info(entry.name, shape, np.dtype(np.uint8), int(np.prod(shape)), kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for entry in each(entries, len(entries)):
            writer.write_tensor_data(quantised(entry.load(), entry.format))
    finally:
        writer.close()


def check_tensors(path: Path, entries: list[Entry], each: Callable[[Iterable, int], Iterable]) -> float:
    """Read the file back with gguf's reader and compare every dequantised tensor with ours.

    Returns the largest error of a weight, as a share of the largest weight of its tensor. Raises StudioError if one
    exceeds `TENSOR_ERROR` of its format, or a tensor is missing.
    """
    import numpy as np
    from gguf import GGUFReader, dequantize

    found = {tensor.name: tensor for tensor in GGUFReader(str(path)).tensors}
    worst = 0.0
    for entry in each(entries, len(entries)):
        if entry.name not in found or tuple(reversed(found[entry.name].shape.tolist())) != entry.shape:
            raise StudioError("The written GGUF file lacks the tensor {name}, so it was not kept.", name=entry.name)
        tensor = found[entry.name]
        ours = entry.load()
        theirs = dequantize(tensor.data, tensor.tensor_type).reshape(ours.shape)
        largest = float(np.abs(ours).max()) or 1.0
        error = float(np.abs(ours - theirs).max()) / largest
        if not error <= TENSOR_ERROR[entry.format] + _SMALLEST_F16 / largest:
            raise StudioError(
                "The tensor {name} of the written GGUF file differs by {error} % from ours, so it was not kept.",
                name=entry.name,
                error=round(100 * error, 3),
            )
        worst = max(worst, error)
    return worst

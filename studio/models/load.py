"""Load a base model from its folder. Used in workers only; checks for known failures that would otherwise be silent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from studio.models import text_part
from studio.models.model_types import loader
from studio.models.shape import read_config
from studio.words import StudioError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_SMALL_MODEL = 30_000_000  # parameters; see `limit_threads`
_BLOCK = re.compile(r"\.\d+\.")
"""Matches the names of tensors inside one of a model's blocks."""
HEADS = {
    "causal_lm": "AutoModelForCausalLM",
    "text_classification": "AutoModelForSequenceClassification",
    "image_classification": "AutoModelForImageClassification",
}
"""Head → class of transformers. Classification heads are initialised randomly and trained in full."""


def compute_dtype(precision: str, device: str) -> torch.dtype:
    """The compute dtype for `precision`: "auto" is bf16 on a GPU that supports it, else fp32."""
    import torch

    if precision == "auto":
        precision = "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def load_base(
    folder: Path,
    *,
    quantisation: str = "none",
    precision: str = "auto",
    device: str = "cpu",
    double_quantisation: bool = True,
    head: str = "causal_lm",
    labels: list[str] | None = None,
) -> PreTrainedModel:
    """Load the model in `folder` to `device`, in eval mode, with all parameters frozen.

    quantisation: "none", "nf4" or "int8". precision: "auto", "fp32", "bf16" or "fp16". head: a key of `HEADS`. labels:
    the names of the classes of a classification head. Never runs code from the folder or opens a pickle. Of multimodal
    models only the text part stays (see `text_part`); experts stored in MXFP4 are dequantised to the compute dtype.
    Raises StudioError if the model cannot be loaded, or has missing or non-finite weights.
    """
    dtype = compute_dtype(precision, device)
    config = read_config(folder)
    if quantisation != "none" and _packed(config):
        raise StudioError(
            "The weights in '{folder}' are stored in MXFP4 and become 16 bit while they are loaded, so they cannot be "
            "quantised in another way as well; switch quantisation off.",
            folder=folder,
        )
    more = (
        {"quantization_config": _quantization_config(quantisation, dtype, double_quantisation, head)}
        if quantisation != "none"
        else _unpacked(config)
    )
    if labels is not None:
        # A stored head of another size is replaced; one of the same size is kept.
        more |= {
            "id2label": dict(enumerate(labels)),
            "label2id": {name: at for at, name in enumerate(labels)},
            "ignore_mismatched_sizes": True,
        }
    auto_class = loader(config.get("model_type")) if head == "causal_lm" else HEADS[head]
    model, loading = _from_pretrained(auto_class, folder, dtype=dtype, device_map={"": device}, **more)
    check_missing_weights(loading, folder, head)
    text_part.remove_other_parts(model, keep=quantisation == "none")
    if _packed(config):
        # Otherwise transformers would save the dequantised weights under the names of the quantised ones.
        model._weight_conversions = None
    check_finite(model, folder)
    disable_4bit_repacking(model)
    if device == "cpu":
        limit_threads(model)
    model.config._name_or_path = str(folder)
    model.requires_grad_(False)
    return model.eval()


def _from_pretrained(auto_class: str, folder: Path, **options) -> tuple[PreTrainedModel, dict]:
    """Load the model in `folder` with a class of transformers. Returns (model, loading info).

    Raises StudioError if the folder cannot be loaded; errors of the machine, such as too little memory, stay as they
    are.
    """
    import transformers

    import studio.tuners  # noqa: F401  registers the studio's own adapter types with peft

    try:
        return getattr(transformers, auto_class).from_pretrained(
            str(folder),
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, OSError) as error:
        if "memory" in str(error).lower() or getattr(error, "errno", None):
            raise
        raise StudioError(
            "The model in '{folder}' cannot be loaded: {detail}",
            folder=folder,
            detail=(str(error).strip().splitlines() or [type(error).__name__])[0],
        ) from error


def check_missing_weights(loading: dict, folder: Path, head: str) -> None:
    """Raise StudioError if weights of the model are missing in its files or have another size, and so were initialised
    randomly.

    loading: transformers' loading info, {"missing_keys", "mismatched_keys"}. A classification head and the pooler
    before it are expected to be new.
    """
    missing = {
        *loading["missing_keys"],
        *(key[0] if isinstance(key, tuple) else key for key in loading["mismatched_keys"]),
    }
    missing = sorted(name for name in missing if head == "causal_lm" or _BLOCK.search(name) or "embed" in name)
    if missing:
        raise StudioError(
            "The weights in '{folder}' lack {count} of the model's tensors, or have them in another size, such "
            "as {name}; download the model again.",
            folder=folder,
            count=len(missing),
            name=missing[0],
        )


def check_finite(model: torch.nn.Module, folder: Path) -> None:
    """Raise StudioError, which names the tensor, if a weight is NaN or infinite.

    One pass over the weights: 0.2 to 0.3 s per billion parameters on one core.
    """
    import torch

    named = [
        (name, weight)
        for name, weight in model.named_parameters()
        if weight.is_floating_point() and weight.numel() and not weight.is_meta
    ]
    ends = [torch.stack(torch.aminmax(weight.detach())).float() for _, weight in named]  # aminmax propagates NaN
    good = torch.stack([end.to(ends[0].device) for end in ends]).isfinite().all(1).tolist() if ends else []
    bad = next((name for (name, _), fine in zip(named, good, strict=True) if not fine), None)
    if bad:
        raise StudioError(
            "The tensor {name} in '{folder}' has weights that are NaN or infinite, so the model cannot be "
            "fine-tuned; download the model again.",
            name=bad,
            folder=folder,
        )


def _unpacked(config: dict) -> dict:
    """Arguments of `from_pretrained` that dequantise experts stored in MXFP4, for training; {} for other models."""
    from transformers import Mxfp4Config

    return {"quantization_config": Mxfp4Config(dequantize=True)} if _packed(config) else {}


def _packed(config: dict) -> bool:
    found = config.get("quantization_config")
    return isinstance(found, dict) and found.get("quant_method") == "mxfp4"


def _quantization_config(quantisation: str, dtype: torch.dtype, double: bool, head: str):
    from transformers import BitsAndBytesConfig

    # A new head is trained, so it is not quantised; for language models the default of transformers applies.
    skipped_modules = None if head == "causal_lm" else ["score", "classifier"]
    if quantisation == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=skipped_modules,
        )
    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped_modules)


def limit_threads(model: torch.nn.Module) -> None:
    """Limit torch to one thread for models under `_SMALL_MODEL` parameters.

    Measured with the starter on 2 cores (benchmarks/threads.py): on an idle machine, 2 threads are 8 % faster; with one
    other busy process they wait for each other at every layer and take 27 times as long, while one thread is not
    affected.
    """
    import torch

    if model.num_parameters() < _SMALL_MODEL:
        torch.set_num_threads(1)


def disable_4bit_repacking(model: torch.nn.Module) -> None:
    """Prevent bitsandbytes from repacking 4-bit layers in eval mode on AVX512-BF16 CPUs.

    A repacked layer does not support autograd, so after the first evaluation training would silently have no effect.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False

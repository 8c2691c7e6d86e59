"""LoftQ: QLoRA initialised to compensate the quantisation error."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.qlora import QLoRA
from studio.models.folders import weight_files
from studio.models.stored_tensors import loaded_names, stored_tensors
from studio.options import option
from studio.words import StudioError

# Iterations of the randomised SVD. The singular values of a quantisation error decay slowly, so that fewer iterations
# find worse directions.
_ROUNDS = 8


class LoftQ(QLoRA):
    """QLoRA whose LoRA begins with a part of what the base model lost when it was quantised to 4 bits, so that training starts nearer to the whole model.

    Equation: Q = NF4(W₀), (α/r)·B₀·A₀ = the r strongest directions of W₀ − Q, h = Q·x + (α/r)·B·A·x
    Paper: Li et al. 2023, LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models, arXiv:2310.08659
    Good for: what QLoRA is for, where the 4-bit model answers noticeably worse than the whole one.
    Cost: every weight is read whole and compared with its 4-bit form before the first step; after that the same as QLoRA.
    Limits: belongs over the base in 4 bits: merged into one in 16 bits, what it mended is added once too often, an error as small as the one
    that 4 bits make. One round of the paper's alternation, as PEFT has it.
    """

    title: ClassVar[str] = "LoftQ"
    order: ClassVar[int] = 12

    name: Literal["loftq"] = option("loftq", "Method", "", hidden=True)

    def wrap(self, model, setting=DEFAULT):
        import torch

        folder = Path(model.config._name_or_path)
        model = super().wrap(model, setting)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(setting.seed)  # the decomposition is randomised
            _mend(model.base_model.model, folder)
        return model

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)


def _mend(model, folder: Path) -> None:
    """Initialise each LoRA on a 4-bit layer of `model` with the principal directions of the layer's quantisation error.

    folder: holds the unquantised weights. Raises StudioError if a layer is not found there.
    """
    import torch
    from peft.utils.integrations import dequantize_module_weight
    from safetensors import safe_open

    layers = {
        name: layer
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A") and hasattr(layer.get_base_layer().weight, "quant_state")
    }
    missing, names = set(layers), loaded_names(stored_tensors(folder))
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            # a safetensors file is not a dict
            held = {names[key].removesuffix(".weight"): key for key in file.keys() if key in names}  # noqa: SIM118
            for name in sorted(missing):
                key = held.get(name) or held.get(name.removeprefix(f"{model.base_model_prefix}."))
                if key is None:
                    continue
                layer = layers[name]
                quantised = dequantize_module_weight(layer.get_base_layer()).float()
                lost = file.get_tensor(key).to(quantised.device).float() - quantised
                rank, scale = layer.r["default"], layer.scaling["default"]
                u, s, v = torch.svd_lowrank(lost, q=min(2 * rank, *lost.shape), niter=_ROUNDS)
                root = s[:rank].sqrt()
                for matrix, found in (
                    (layer.lora_A, (v[:, :rank] * root).T),
                    (layer.lora_B, u[:, :rank] * root / scale),
                ):
                    matrix["default"].weight.copy_(found)
                missing.discard(name)
    if missing:
        raise StudioError(
            "LoftQ compares the base model with its weights before they were quantised, and does not find {layer} in "
            "'{folder}'; choose QLoRA.",
            layer=min(missing),
            folder=folder,
        )

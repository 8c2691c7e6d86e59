"""The weight change ΔW = s·B·A that a LoRA makes in each layer: read it from an adapter's files, find the best
approximation of a rank, and write it as stock LoRA.

The factors of a layer are `down` [r, input] = A and `up` [output, r] = s·B, in float64 while they are worked on. peft
stores those of an embedding under other names, with the vocabulary as input. Independent of where ΔW comes from. The
functions that say what can be read import no torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
"""What peft writes before the names of the base model's modules."""
_TENSOR = re.compile(r"base_model\.model\.(?P<layer>.+)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B)")
_OTHER_MEANING = {
    "use_dora": "DoRA",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QA-LoRA",
    "alora_invocation_tokens": "aLoRA",
    "monteclora_config": "MonteCLoRA",
    "kasa_config": "KaSA",
    "arrow_config": "Arrow",
    "layer_replication": "layer replication",
    "target_parameters": "experts (target_parameters)",
    "lora_bias": "lora_bias",
}
"""Keys of adapter_config.json with which ΔW is more than s·B·A of a layer → how they are called."""
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # values of init_lora_weights
_FULL_SVD = 2048  # largest smaller side of a dense ΔW that is decomposed completely
_ROUNDING = 1e-7  # singular values below this share of the largest are rounding errors of 32-bit factors


@dataclass(frozen=True)
class Factors:
    """ΔW of one layer as up [output, r] @ down [r, input], the scaling included. embedding: of an embedding, whose
    weight [vocabulary, width] changes by the transpose.
    """

    down: torch.Tensor
    up: torch.Tensor
    embedding: bool = False

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True)
class Rank:
    """How many singular values are kept: `most`, and no more than hold the share `energy` of Σσ²; None sets no limit.

    Values that are only rounding errors of 32-bit numbers are never kept.
    """

    most: int | None = None
    energy: float | None = None

    def kept(self, singular: torch.Tensor) -> int:
        """Number of values kept of `singular` (descending); at least 1, because a LoRA layer has a rank."""
        if not len(singular) or singular[0] == 0:
            return 1
        kept = int((singular > _ROUNDING * singular[0]).sum())
        if self.energy is not None and self.energy < 1:
            energy = singular.square().cumsum(0)
            kept = min(kept, int((energy < self.energy * energy[-1]).sum()) + 1)
        return min(kept, self.most) if self.most else kept


@dataclass(frozen=True)
class Approximation:
    """Factors in place of a ΔW. error: ‖ΔW − up·down‖ / ‖ΔW‖ (Frobenius); norm: ‖ΔW‖."""

    factors: Factors
    error: float
    norm: float


def total_error(layers: dict[str, Approximation]) -> float:
    """The relative error over all layers together: √(Σ (error·norm)² / Σ norm²)."""
    norm = sum(one.norm**2 for one in layers.values()) ** 0.5
    return (sum((one.error * one.norm) ** 2 for one in layers.values()) ** 0.5) / norm if norm else 0.0


def read_config(folder: Path, name: str) -> dict:
    """adapter_config.json of the adapter called `name`. Raises StudioError where it cannot be read."""
    try:
        return dict(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StudioError("The adapter '{name}' has no readable adapter_config.json.", name=name) from error


def plain_refusal(folder: Path, name: str) -> Sentence | None:
    """Why ΔW of the adapter in `folder` is not s·B·A of its files alone; None if it is (plain LoRA).

    Raises StudioError where the files cannot be read.
    """
    config = read_config(folder, name)
    if config.get("peft_type") != "LORA":
        return Sentence(
            "“{name}” is of the type {type}, and only LoRA adapters can be blended. Convert it to LoRA first.",
            name=name,
            type=config.get("peft_type", "?"),
        )
    for key, what in _OTHER_MEANING.items():
        if config.get(key):
            return Sentence(
                "“{name}” uses {what}, so its change of the weights is more than its matrices A and B. Convert it to "
                "LoRA first.",
                name=name,
                what=what,
            )
    started = str(config.get("init_lora_weights"))
    if started.startswith(_CHANGE_THE_BASE):
        return Sentence(
            "“{name}” belongs to a base model that {what} has changed. Save it with peft's "
            "path_initial_model_for_weight_conversion first.",
            name=name,
            what=started,
        )
    if config.get("bias", "none") != "none":
        return Sentence("“{name}” also trains biases, which a LoRA cannot hold.", name=name)
    other = sorted(key for key in _tensor_names(folder, name) if not _TENSOR.match(key) and not _is_base(key))
    if other:
        return Sentence(
            "“{name}” also brings weights that are saved whole, such as {tensor}, which a LoRA cannot hold.",
            name=name,
            tensor=other[0].removeprefix(PREFIX),
        )
    return None


def _is_base(key: str) -> bool:
    """Whether the tensor is the base model's own: peft saves the weight of an adapted embedding along."""
    return key.endswith(".base_layer.weight")


def _tensor_names(folder: Path, name: str) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "adapter_model.safetensors", "numpy") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise StudioError(
            "The adapter '{name}' has no readable adapter_model.safetensors; delete it, or train it again.", name=name
        ) from error


def read_lora(folder: Path, name: str) -> dict[str, Factors]:
    """Layer → ΔW of the plain LoRA in `folder`, in float64, the scaling of each layer included.

    Raises StudioError where it is no plain LoRA, or a layer is a convolution.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file

    if refusal := plain_refusal(folder, name):
        raise StudioError(refusal)
    config = LoraConfig.from_pretrained(str(folder))
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        if _is_base(key):
            continue
        found = _TENSOR.match(key)
        if tensor.dim() != 2:
            raise StudioError(
                "“{name}” changes a convolution ({layer}), which is not supported here.",
                name=name,
                layer=found["layer"],
            )
        pairs.setdefault(found["layer"], {})[found["kind"]] = tensor.double()
    layers = {}
    for layer, pair in pairs.items():
        embedding = "lora_embedding_A" in pair
        kind = "lora_embedding_" if embedding else "lora_"
        layers[layer] = Factors(pair[f"{kind}A"], _scaling(config, layer) * pair[f"{kind}B"], embedding)
    return layers


def _scaling(config: Any, layer: str) -> float:
    """α/r, or α/√r with rank-stabilised scaling, of the layer called `layer`, its patterns considered, as peft does."""
    from peft.utils.other import get_pattern_key

    rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), layer), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), layer), config.lora_alpha)
    return alpha / (rank**0.5 if config.use_rslora else rank)


def factor_product(factors: Factors, rank: Rank) -> Approximation:
    """The best approximation of up @ down with a rank, from QR of the thin factors: no [output, input] matrix is made.

    The singular values are shared by both factors, so that they have the same norm.
    """
    import torch

    left, upper = torch.linalg.qr(factors.up.double())
    right, lower = torch.linalg.qr(factors.down.double().T)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    kept = rank.kept(s)
    root = s[:kept].sqrt()
    made = Factors(root[:, None] * (v[:kept] @ right.T), (left @ u[:, :kept]) * root, factors.embedding)
    norm = float(s.norm())
    return Approximation(made, float(s[kept:].norm()) / norm if norm else 0.0, norm)


def factor_dense(delta: torch.Tensor, rank: Rank, embedding: bool = False) -> Approximation:
    """The best approximation of ΔW [output, input] with a rank.

    Of a large matrix with a given rank only the strongest directions are computed, by a randomised SVD with a fixed
    seed; the error is measured either way.
    """
    import torch

    delta = delta.double()
    if min(delta.shape) > _FULL_SVD and rank.most and 4 * rank.most < min(delta.shape):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            u, s, v = torch.svd_lowrank(delta, q=2 * rank.most + 8, niter=6)
            v = v.T
    else:
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
    kept = rank.kept(s)
    root = s[:kept].sqrt()
    made = Factors(root[:, None] * v[:kept], u[:, :kept] * root, embedding)
    norm = float(delta.norm())
    return Approximation(made, float((delta - made.up @ made.down).norm()) / norm if norm else 0.0, norm)


def write_lora(
    folder: Path,
    layers: dict[str, Factors],
    *,
    base: str,
    task_type: str | None = None,
    fan_in_fan_out: bool = False,
    whole: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the layers to `folder` as a stock LoRA in float32 that changes exactly these layers.

    base: what adapter_config.json names as base model. Ranks may differ between layers; the scaling is 1 everywhere, so
    that programs that ignore peft's patterns scale correctly too. whole: further tensors, such as the head of a
    classifier.
    """
    from peft import LoraConfig

    from studio.methods.lora import write_lora as write

    most = max(factors.rank for factors in layers.values())
    different = {layer: one.rank for layer, one in layers.items() if one.rank != most}
    config = LoraConfig(
        r=most,
        lora_alpha=most,
        target_modules=sorted(layers),
        rank_pattern=different,
        alpha_pattern=dict(different),
        fan_in_fan_out=fan_in_fan_out,
        task_type=task_type,
        base_model_name_or_path=base,
    )
    tensors = dict(whole or {})
    for layer, factors in layers.items():
        kind, end = ("lora_embedding_", "") if factors.embedding else ("lora_", ".weight")
        tensors[f"{PREFIX}{layer}.{kind}A{end}"] = factors.down.float()
        tensors[f"{PREFIX}{layer}.{kind}B{end}"] = factors.up.float()
    write(config, tensors, folder)

"""Hybrid tuner: combines bottleneck adapters, prefixes, LoRA and biases in one model, with a separate set of parts for
each layer.

The configuration lists the parts of each layer by the layer's name, so one peft type covers the MAM adapter (He 2022,
arXiv:2110.04366), UniPELT (Mao 2022, arXiv:2110.07577), S4 (Chen 2023, arXiv:2301.01821) and custom combinations. Parts
may be gated: the part's output is scaled by a gate in (0, 1) for each token, computed from the part's input. (UniPELT
averages the gate over the sentence, which in a decoder would leak later tokens.) Independent of the role of each layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.tuners.bottleneck import ACTIVATIONS
from studio.tuners.layer_tuner import LayerTuner
from studio.tuners.prefix import PrefixLayer, hook_attention, key_value_shape, unhook_attention

PARTS = ("tap", "adapter", "parallel", "prefix", "lora", "bias")


@dataclass
class HybridConfig(PeftConfig):
    """Configuration of the hybrid tuner.

    parts: full layer name → names from `PARTS`. "tap" records the layer's input, which the parallel adapter of the same
    MLP reads.
    """

    target_modules: list[str] | None = field(
        default=None, metadata={"help": "Full names of the layers, those of `parts`."}
    )
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained in full beside it, such as a head for classes."}
    )
    parts: dict[str, list[str]] = field(default_factory=dict, metadata={"help": "Layer → its parts."})
    size: int = field(default=16, metadata={"help": "Width of the adapters' bottleneck."})
    scale: float = field(default=1.0, metadata={"help": "Factor of the adapters' output."})
    activation: str = field(default="relu", metadata={"help": "relu, gelu or silu."})
    num_virtual_tokens: int = field(default=10, metadata={"help": "Length of the prefix."})
    r: int = field(default=8, metadata={"help": "Rank of the LoRA."})
    alpha: float = field(default=16.0, metadata={"help": "Strength of the LoRA, which is scaled by alpha / r."})
    gated: bool = field(default=False, metadata={"help": "Each part behind a gate."})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "HYBRID"
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {self.activation!r}")
        unknown = {part for parts in self.parts.values() for part in parts} - set(PARTS)
        if unknown:
            raise ValueError(f"parts must be among {PARTS}, got {sorted(unknown)}")


class HybridLayer(PrefixLayer):
    """A wrapped leaf layer with the parts that each adapter's configuration lists for it. "prefix" is valid only on a
    key projection.
    """

    adapter_layer_names = (
        *PrefixLayer.adapter_layer_names,
        "hybrid_A",
        "hybrid_B",
        "hybrid_down",
        "hybrid_up",
        "hybrid_bias",
        "hybrid_lora_gate",
        "hybrid_adapter_gate",
    )
    other_param_names = (*PrefixLayer.other_param_names, "settings", "parts")

    def __init__(self, base_layer: nn.Module):
        super().__init__(base_layer)
        self.hybrid_A, self.hybrid_B, self.hybrid_down, self.hybrid_up = (
            nn.ModuleDict(),
            nn.ModuleDict(),
            nn.ModuleDict(),
            nn.ModuleDict(),
        )
        self.hybrid_lora_gate, self.hybrid_adapter_gate, self.hybrid_bias = (
            nn.ModuleDict(),
            nn.ModuleDict(),
            nn.ParameterDict(),
        )
        self.settings: dict[str, HybridConfig] = {}
        self.parts: dict[str, list[str]] = {}
        self.seen: torch.Tensor | None = None  # last input, recorded by a tap
        self.source: tuple[
            HybridLayer, ...
        ] = ()  # the tap, in a tuple so that torch does not register it as a submodule

    def add(self, adapter_name: str, config: HybridConfig, parts: list[str], heads: int, head_size: int) -> None:
        """Add the adapter's parts to this layer. All but the prefix are initialised so that their output is zero.

        heads, head_size: shape of the keys and values, used for a prefix only.
        """
        self.settings[adapter_name], self.parts[adapter_name] = config, parts
        if "lora" in parts:
            self.hybrid_A[adapter_name] = nn.Linear(self.in_features, config.r, bias=False)
            self.hybrid_B[adapter_name] = nn.Linear(config.r, self.out_features, bias=False)
            nn.init.normal_(self.hybrid_A[adapter_name].weight, std=1 / config.r)
            nn.init.zeros_(self.hybrid_B[adapter_name].weight)
            if config.gated:
                self.hybrid_lora_gate[adapter_name] = _gate(self.in_features)
        if "adapter" in parts or "parallel" in parts:
            self.hybrid_down[adapter_name] = nn.Linear(self.out_features, config.size)
            self.hybrid_up[adapter_name] = up = nn.Linear(config.size, self.out_features)
            nn.init.zeros_(up.weight)
            nn.init.zeros_(up.bias)
            if config.gated:
                self.hybrid_adapter_gate[adapter_name] = _gate(self.out_features)
        if "bias" in parts:
            self.hybrid_bias[adapter_name] = nn.Parameter(torch.zeros(self.out_features))
        if "prefix" in parts:
            self.update_layer(adapter_name, config.num_virtual_tokens, heads, head_size, gated=config.gated)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        names = (
            []
            if self.disable_adapters or self.merged
            else [name for name in self.active_adapters if name in self.parts]
        )
        if any("tap" in self.parts[name] for name in names):
            self.seen = x
        result = super().forward(x, *args, **kwargs)
        beside = None
        if self.source:
            beside, self.source[0].seen = self.source[0].seen, None  # free the tap's input once the MLP has used it
        for name in names:
            result = self._changed(name, x, beside, result)
        return result

    def _changed(self, name: str, x: torch.Tensor, beside: torch.Tensor | None, result: torch.Tensor) -> torch.Tensor:
        """Add the output of the adapter's parts to the base layer's `result`. x: the layer's input; beside: the tap's.

        The bottleneck adapter comes last; a serial one reads the sum of the base layer and the other parts.
        """
        config = self.settings[name]
        if name in self.hybrid_bias:
            result = result + self.hybrid_bias[name].to(result.dtype)
        if name in self.hybrid_A:
            own = self._cast_input_dtype(x, self.hybrid_A[name].weight.dtype)
            delta = self.hybrid_B[name](self.hybrid_A[name](own)) * (config.alpha / config.r)
            result = result + _behind(self.hybrid_lora_gate, name, own, delta).to(result.dtype)
        if name in self.hybrid_down:
            own = self._cast_input_dtype(
                beside if "parallel" in self.parts[name] else result, self.hybrid_down[name].weight.dtype
            )
            delta = self.hybrid_up[name](ACTIVATIONS[config.activation](self.hybrid_down[name](own))) * config.scale
            result = result + _behind(self.hybrid_adapter_gate, name, own, delta).to(result.dtype)
        return result

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.parts:
                continue
            if (
                set(self.parts[name]) - {"lora", "bias"}
                or self.settings[name].gated
                or ("bias" in self.parts[name] and self.base_layer.bias is None)
            ):
                raise ValueError(
                    "Of a hybrid only LoRA without a gate and biases that the base model has can be merged."
                )
            self._shift(name, 1)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        while self.merged_adapters:
            self._shift(self.merged_adapters.pop(), -1)

    @torch.no_grad()
    def _shift(self, name: str, sign: int) -> None:
        """Add the LoRA and the bias to the base layer's weights (sign 1), or subtract them (sign -1)."""
        if name in self.hybrid_A:
            delta = (
                self.hybrid_B[name].weight
                @ self.hybrid_A[name].weight
                * (sign * self.settings[name].alpha / self.settings[name].r)
            )
            weight = self.base_layer.weight
            weight.data += (delta.T if isinstance(self.base_layer, Conv1D) else delta).to(weight.dtype)
        if name in self.hybrid_bias:
            self.base_layer.bias.data += sign * self.hybrid_bias[name].to(self.base_layer.bias.dtype)


def _gate(width: int) -> nn.Linear:
    """A linear layer for the gate's logit, initialised to zero, so that the gate starts at 0.5."""
    gate = nn.Linear(width, 1)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate


def _behind(gates: nn.ModuleDict, name: str, x: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(gates[name](x)) * delta if name in gates else delta


class HybridModel(LayerTuner):
    """The peft tuner that adds hybrid layers to a model."""

    prefix = "hybrid_"
    tuner_layer_cls = HybridLayer

    def add_to_layer(self, layer, peft_config, adapter_name, current_key):
        parts = peft_config.parts[current_key]
        layer.add(
            adapter_name, peft_config, parts, *(key_value_shape(self.model.config) if "prefix" in parts else (0, 0))
        )

    def inject_adapter(self, model, adapter_name, *args, **kwargs):
        """Call peft's `inject_adapter`; then hook the attention, where there are prefixes, and connect each parallel
        adapter to its tap.
        """
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        if any("prefix" in parts for config in self.peft_config.values() for parts in config.parts.values()):
            hook_attention(model)
        for parent in model.modules():
            wrapped = [child for child in parent.children() if isinstance(child, HybridLayer)]
            taps = tuple(child for child in wrapped if any("tap" in parts for parts in child.parts.values()))
            for child in wrapped:
                if any("parallel" in parts for parts in child.parts.values()):
                    child.source = taps

    def unload(self) -> nn.Module:
        unhook_attention(self.model)
        return super().unload()

"""Bottleneck adapters: h + s·W_up f(W_down h), after a leaf layer or parallel to the whole MLP.

Serial (Houlsby 2019, arXiv:1902.00751; Pfeiffer 2020, arXiv:2005.00052): the adapter is applied to the output of the
wrapped layer. Parallel (He 2022, arXiv:2110.04366): it is applied to the MLP's input, and its output is added to the
MLP's. Only leaf layers are wrapped (a wrapped `mlp` around an adapted `down_proj` breaks peft's reload and unload), so
for parallel adapters the MLP's first layer is wrapped as a *tap*, which stores its input until the MLP's last layer
reads it. Layer names come from the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features
from torch import nn

from studio.tuners.layer_tuner import LayerTuner

ACTIVATIONS = {"relu": nn.functional.relu, "gelu": nn.functional.gelu, "silu": nn.functional.silu}


@dataclass
class BottleneckConfig(PeftConfig):
    """Configuration of bottleneck adapters. size: width of the bottleneck. scale: the factor s. input_modules: names of
    the taps, set for parallel adapters only.
    """

    target_modules: list[str] | None = field(
        default=None, metadata={"help": "Last names of the layers to wrap, taps included."}
    )
    input_modules: list[str] | None = field(
        default=None, metadata={"help": "Those of them that receive the MLP's input (parallel)."}
    )
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    size: int = field(default=64, metadata={"help": "Width of the bottleneck."})
    scale: float = field(default=1.0, metadata={"help": "Factor of the adapter's output."})
    activation: str = field(default="relu", metadata={"help": "relu, gelu or silu."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained in full beside it, such as a head for classes."}
    )

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "BOTTLENECK"
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {self.activation!r}")


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A wrapped leaf layer: either one with serial or parallel adapters, or a tap, which has none."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("settings",)

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = _get_in_out_features(base_layer)
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self.settings: dict[str, BottleneckConfig] = {}
        self.merged_adapters: list[str] = []
        self.is_tap, self.seen = False, None
        self.source: tuple[
            BottleneckLayer, ...
        ] = ()  # the tap, in a tuple so that torch does not register it as a submodule

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add an adapter. Its up-projection is initialised to zero, so that training starts from the base model."""
        self.settings[adapter_name] = config
        self.bottleneck_down[adapter_name] = nn.Linear(self.out_features, config.size)
        self.bottleneck_up[adapter_name] = up = nn.Linear(config.size, self.out_features)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if self.is_tap and not self.disable_adapters:
            self.seen = x
        result = self.base_layer(x, *args, **kwargs)
        beside = None
        if self.source:
            beside, self.source[0].seen = self.source[0].seen, None  # free the tap's input once the MLP has used it
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.settings:
                config = self.settings[name]
                h = self._cast_input_dtype(
                    beside if config.input_modules else result, self.bottleneck_down[name].weight.dtype
                )
                delta = self.bottleneck_up[name](ACTIVATIONS[config.activation](self.bottleneck_down[name](h)))
                result = result + (config.scale * delta).to(result.dtype)
        return result

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(
            "A bottleneck adapter is not linear, so no weight of the base model can hold it: it cannot be merged."
        )

    def unmerge(self) -> None:
        """Do nothing: `merge` always raises."""


class BottleneckModel(LayerTuner):
    """The peft tuner that adds bottleneck adapters to a model."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer

    def add_to_layer(self, layer, peft_config, adapter_name, current_key):
        if any(current_key == name or current_key.endswith(f".{name}") for name in peft_config.input_modules or ()):
            layer.is_tap = True
        else:
            super().add_to_layer(layer, peft_config, adapter_name, current_key)

    def inject_adapter(self, model, adapter_name, *args, **kwargs):
        """Call peft's `inject_adapter`, which runs for the first adapter and each later one; then connect each parallel
        adapter to its tap.
        """
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        for parent in model.modules():
            wrapped = [child for child in parent.children() if isinstance(child, BottleneckLayer)]
            taps = tuple(child for child in wrapped if child.is_tap)
            for child in wrapped:
                if not child.is_tap and any(config.input_modules for config in child.settings.values()):
                    child.source = taps

"""BitFit: trains an offset to each output of a layer, that is, a change of its bias (Ben Zaken 2022, arXiv:2106.10199).

The offset is stored separately from the base model, so that it can be disabled, swapped and saved as a small file. It
can be merged exactly where the base layer has a bias; merging raises ValueError where it has none. Independent of layer
names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.tuners.layer_tuner import LayerTuner


@dataclass
class BitFitConfig(PeftConfig):
    """Configuration of BitFit. added: also add a bias to linear layers that have none."""

    target_modules: list[str] | None = field(
        default=None, metadata={"help": "Last names of the layers whose bias is trained."}
    )
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    added: bool = field(default=False, metadata={"help": "Also give a bias to linear layers that have none."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained in full beside it, such as a head for classes."}
    )

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "BITFIT"


def accepts_bias(module: nn.Module, added: bool) -> bool:
    """Whether `module` is a linear or LayerNorm layer with a bias; if `added`, also any linear layer without one."""
    if isinstance(module, nn.Linear | Conv1D):
        return added or module.bias is not None
    return isinstance(module, nn.LayerNorm) and module.bias is not None


class BitFitLayer(nn.Module, BaseTunerLayer):
    """A wrapped layer with one bias offset [out_features] for each adapter."""

    adapter_layer_names = ("bitfit_delta",)

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        bias = base_layer.bias
        self.out_features = (
            len(bias)
            if bias is not None
            else base_layer.nf
            if isinstance(base_layer, Conv1D)
            else base_layer.out_features
        )
        self.bitfit_delta = nn.ParameterDict()
        self.merged_adapters: list[str] = []

    def update_layer(self, adapter_name: str, config: BitFitConfig) -> None:
        self.bitfit_delta[adapter_name] = nn.Parameter(torch.zeros(self.out_features))
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        for name in self.active_adapters:
            if name in self.bitfit_delta:
                result = result + self.bitfit_delta[name].to(result.dtype)
        return result

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        bias = self.base_layer.bias
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.bitfit_delta:
                if bias is None:
                    raise ValueError(
                        "This layer of the base model has no bias, so an added one cannot be merged into it."
                    )
                bias.data += self.bitfit_delta[name].to(bias.dtype)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        while self.merged_adapters:
            self.base_layer.bias.data -= self.bitfit_delta[self.merged_adapters.pop()].to(self.base_layer.bias.dtype)


class BitFitModel(LayerTuner):
    """The peft tuner that adds bias offsets to a model."""

    prefix = "bitfit_"
    tuner_layer_cls = BitFitLayer

    def _create_and_replace(self, peft_config, adapter_name, target, target_name, parent, current_key):
        inside = target.base_layer if isinstance(target, BitFitLayer) else target
        if accepts_bias(inside, peft_config.added):  # else it matches a target name but has no bias to train
            super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, current_key)

"""AdapterFusion: attention over a bank of trained, frozen bottleneck adapters (Pfeiffer 2021, arXiv:2005.00247).

The query is the output h of the wrapped layer (the MLP's last); keys and values are the outputs z_n of the adapters:
h ← h + V Σ_n s_n z_n with s = softmax_n(hᵀQᵀK z_n / √d) and z_n = W_up f(W_down h). The bank's weights are saved with
the adapter, so that its file is self-contained. Independent of where the bank comes from; layer names come from the
configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftConfig
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features
from safetensors.torch import load_file
from torch import nn

from studio.tuners.bottleneck import ACTIVATIONS
from studio.tuners.layer_tuner import LayerTuner

_BANK = ("fusion_down", "fusion_down_bias", "fusion_up", "fusion_up_bias")


@dataclass
class FusionConfig(PeftConfig):
    """Configuration of AdapterFusion. names: one per adapter in the bank. size, activation: those of the adapters."""

    target_modules: list[str] | None = field(
        default=None, metadata={"help": "Names of the layers that the adapters follow."}
    )
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained in full beside it, such as a head for classes."}
    )
    names: list[str] = field(default_factory=list, metadata={"help": "Names of the adapters in the bank."})
    size: int = field(default=64, metadata={"help": "Width of the adapters' bottleneck."})
    activation: str = field(default="relu", metadata={"help": "relu, gelu or silu."})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "FUSION"


class FusionLayer(nn.Module, BaseTunerLayer):
    """A wrapped leaf layer that holds, per adapter name, a bank of bottleneck adapters and the attention over it."""

    adapter_layer_names = ("fusion_query", "fusion_key", "fusion_value")
    other_param_names = (*_BANK, "settings")

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        _, self.out_features = _get_in_out_features(base_layer)
        self.fusion_query, self.fusion_key, self.fusion_value = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for part in _BANK:
            setattr(self, part, BufferDict(persistent=True))
        self.settings: dict[str, FusionConfig] = {}
        self.merged_adapters: list[str] = []
        self.shares: torch.Tensor | None = None  # attention weights of the last forward pass: [..., adapters]

    def update_layer(self, adapter_name: str, config: FusionConfig) -> None:
        """Add a bank of zeros and an attention whose initial weights are nearly uniform; its value matrix is
        initialised near the identity.
        """
        self.settings[adapter_name] = config
        count, size, width = len(config.names), config.size, self.out_features
        for part, shape in zip(
            _BANK, ((count, size, width), (count, size), (count, width, size), (count, width)), strict=True
        ):
            getattr(self, part)[adapter_name] = torch.zeros(shape)
        for part in (self.fusion_query, self.fusion_key, self.fusion_value):
            part[adapter_name] = nn.Linear(width, width, bias=False)
            nn.init.normal_(part[adapter_name].weight, std=0.02)
        nn.init.eye_(self.fusion_value[adapter_name].weight)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.settings:
                h = self._cast_input_dtype(result, self.fusion_query[name].weight.dtype)
                result = result + self._mix(name, h).to(result.dtype)
        return result

    def _mix(self, name: str, h: torch.Tensor) -> torch.Tensor:
        """The attention output that is added to h [..., width], of the same shape."""
        down, down_bias, up, up_bias = (getattr(self, part)[name].to(h.dtype) for part in _BANK)
        inner = ACTIVATIONS[self.settings[name].activation](torch.einsum("...d,kmd->...km", h, down) + down_bias)
        offers = torch.einsum("...km,kdm->...kd", inner, up) + up_bias
        question = (
            self.fusion_query[name](h) @ self.fusion_key[name].weight
        )  # hᵀQᵀK first, so that K is not multiplied with the output of each adapter
        # Scaled by 1/√d: the outputs of an MLP can be large, and softmax weights of exactly 0 or 1 have no gradient.
        shares = (torch.einsum("...d,...kd->...k", question, offers) / h.shape[-1] ** 0.5).softmax(-1)
        self.shares = shares.detach()
        return self.fusion_value[name](
            torch.einsum("...k,...kd->...d", shares, offers)
        )  # V is linear, so it is applied once, to the sum

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(
            "Fused adapters are mixed anew for each token, so no weight of the base model can hold them: "
            "they cannot be merged."
        )

    def unmerge(self) -> None:
        """Do nothing: `merge` always raises."""


class FusionModel(LayerTuner):
    """The peft tuner that adds AdapterFusion layers to a model."""

    prefix = "fusion_"
    tuner_layer_cls = FusionLayer


def fusion_layers(model: nn.Module) -> dict[str, FusionLayer]:
    """The `FusionLayer`s of `model` by their names in the base model."""
    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, FusionLayer)
    }


@torch.no_grad()
def fill_bank(model: nn.Module, folders: list[Path], scales: list[float], adapter_name: str = "default") -> None:
    """Copy the bottleneck adapters in `folders` into the banks of `model`, in order. scales: the factor s of each one,
    multiplied into its up-projection.

    Raises ValueError where an adapter lacks a tensor of the right shape for a layer.
    """
    for index, (folder, scale) in enumerate(zip(folders, scales, strict=True)):
        saved = load_file(folder / "adapter_model.safetensors")
        for name, layer in fusion_layers(model).items():
            for part, key, factor in zip(
                _BANK, ("down.weight", "down.bias", "up.weight", "up.bias"), (1, 1, scale, scale), strict=True
            ):
                place = getattr(layer, part)[adapter_name][index]
                tensor = saved.get(f"base_model.model.{name}.bottleneck_{key}")
                if tensor is None or tensor.shape != place.shape:
                    raise ValueError(f"no fitting {key} for {name}")
                place.copy_(tensor * factor)

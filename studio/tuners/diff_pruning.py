"""Diff pruning: a trainable difference to the weights, with a gate for each element that makes it sparse (Guo 2021,
arXiv:2012.07463).

In training each gate is sampled from a stretched and clipped binary ("hard concrete") distribution, so that the
probability that it is open is differentiable. In evaluation the gates are deterministic: only the elements of largest
magnitude in the whole model are kept, as many as will be saved, so that the measured model is the saved one. This peft
type is used only during the run: the sparse difference is saved as a SHIRA adapter of stock peft. Independent of layer
names and of the training schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, ShiraConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from safetensors.torch import save_file
from torch import nn

LOW, HIGH = -1.5, 1.5  # gate values are stretched to this range, then clipped to 0 … 1 (Guo 2021, §3.1)
FIXED_GATE = 20.0  # gate parameter (logit) after `fix_gates`: at +20 the gate is exactly 1, at -20 exactly 0
START = 2.0  # initial gate parameter: nearly nine of ten samples are above 0


@dataclass
class DiffPruningConfig(PeftConfig):
    """Configuration of diff pruning.

    kept: fraction (0 to 1) of the target layers' weights that may differ in the end. groups: which elements share a
    second gate: those of a row ("row"), of a matrix ("matrix"), or none ("none").
    """

    target_modules: list[str] | None = field(default=None, metadata={"help": "Names of the linear layers."})
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained in full beside it, such as a head for classes."}
    )
    kept: float = field(default=0.01, metadata={"help": "Share of the weights that may differ in the end, 0 to 1."})
    groups: str = field(default="none", metadata={"help": "none, row or matrix."})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "DIFF"


def hard_concrete(gate: torch.Tensor) -> torch.Tensor:
    """The deterministic gate values, 0 … 1, of the gate parameters `gate` (any shape)."""
    return (torch.sigmoid(gate) * (HIGH - LOW) + LOW).clamp(0, 1)


def sample_gates(gate: torch.Tensor) -> torch.Tensor:
    """Sample the gates once: values 0 … 1, differentiable in the gate parameters."""
    uniform = torch.rand_like(gate).clamp(1e-6, 1 - 1e-6)
    return hard_concrete(gate + torch.log(uniform) - torch.log1p(-uniform))


def open_probability(gate: torch.Tensor) -> torch.Tensor:
    """The probability that a sampled gate is above 0: σ(α − log(−LOW/HIGH)) = σ(α), since the range is symmetric."""
    return torch.sigmoid(gate)


class DiffPruningLayer(nn.Module, BaseTunerLayer):
    """A wrapped linear layer with a gated difference to its weight. size: (out_features, in_features)."""

    adapter_layer_names = ("diff_weight", "diff_gate", "diff_group")

    def __init__(self, base_layer: nn.Module, size: tuple[int, int]):
        super().__init__()
        self.base_layer, self.size = base_layer, size
        self.diff_weight, self.diff_gate, self.diff_group = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        self.merged_adapters: list[str] = []
        self.settled = False
        self.kept: torch.Tensor | None = None  # the final sparse difference, cached in evaluation mode
        self.whole: tuple[DiffPruningModel, ...] = ()  # in a tuple, so that torch does not register it as a submodule

    def update_layer(self, adapter_name: str, config: DiffPruningConfig) -> None:
        self.diff_weight[adapter_name] = nn.Parameter(torch.zeros(self.size))
        self.diff_gate[adapter_name] = nn.Parameter(torch.full(self.size, START))
        if config.groups != "none":
            self.diff_group[adapter_name] = nn.Parameter(
                torch.full((self.size[0] if config.groups == "row" else 1, 1), START)
            )
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def train(self, mode: bool = True):
        self.kept = None
        return super().train(mode)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        names = [] if self.disable_adapters else [name for name in self.active_adapters if name in self.diff_weight]
        if not names:
            return self.base_layer(x, *args, **kwargs)
        weight = self.base_layer.weight
        for name in names:
            delta = self.training_delta(name) if self.training else self.final_delta(name)
            weight = weight + delta.to(weight.dtype)
        return nn.functional.linear(x, weight, self.base_layer.bias)

    def training_delta(self, name: str) -> torch.Tensor:
        """The difference for a training step: with sampled gates, or with fixed ones after `fix_gates`."""
        if self.settled:
            return self.diff_weight[name] * hard_concrete(self.diff_gate[name]).detach()
        delta = self.diff_weight[name] * sample_gates(self.diff_gate[name])
        return delta * sample_gates(self.diff_group[name]) if name in self.diff_group else delta

    @torch.no_grad()
    def smooth_delta(self, name: str) -> torch.Tensor:
        """The difference with deterministic gates, before the elements of small magnitude are set to zero."""
        delta = self.diff_weight[name] * hard_concrete(self.diff_gate[name])
        return delta * hard_concrete(self.diff_group[name]) if name in self.diff_group else delta

    def final_delta(self, name: str) -> torch.Tensor:
        if self.kept is None:
            self.whole[0].prune(name)
        return self.kept

    def open_count(self, name: str) -> torch.Tensor:
        """The expected number of open gates, a scalar (differentiable)."""
        chance = open_probability(self.diff_gate[name])
        return (chance * open_probability(self.diff_group[name]) if name in self.diff_group else chance).sum()


class DiffPruningModel(BaseTuner):
    """The peft tuner that adds gated differences to a model and prunes them with one threshold for all layers."""

    prefix = "diff_"
    tuner_layer_cls = DiffPruningLayer
    target_module_mapping: dict = {}

    def _create_and_replace(self, peft_config, adapter_name, target, target_name, parent, current_key):
        layer = DiffPruningLayer(target, (target.out_features, target.in_features))
        layer.update_layer(adapter_name, peft_config)
        layer.whole = (self,)
        self._replace_module(parent, target_name, layer, target)

    def layers(self) -> dict[str, DiffPruningLayer]:
        return {name: module for name, module in self.model.named_modules() if isinstance(module, DiffPruningLayer)}

    @torch.no_grad()
    def prune(self, name: str) -> None:
        """Set each layer's `kept` to its difference, with all elements zero but those that are among the largest in
        magnitude of the whole model.
        """
        layers = list(self.layers().values())
        deltas = [layer.smooth_delta(name) for layer in layers]
        strengths = [delta.abs().flatten().float() for delta in deltas]
        everything = torch.cat(strengths)
        count = max(1, round(self.peft_config[name].kept * everything.numel()))
        limit = shira_rank_limit([layer.size for layer in layers])
        chosen = largest_mask(everything, count).split([strength.numel() for strength in strengths])
        for layer, delta, strength, mask in zip(layers, deltas, strengths, chosen, strict=True):
            room = limit * sum(layer.size)
            if mask.count_nonzero() > room:  # more than SHIRA's rank allows in this layer
                mask = largest_mask(strength, room)
            layer.kept = torch.where(mask.view_as(delta), delta, 0)

    @torch.no_grad()
    def fix_gates(self, name: str) -> None:
        """Fix the gates for the rest of the run. After a resume, called again: it then leaves gates and weights as they
        are.
        """
        layers = list(self.layers().values())
        if not all((layer.diff_gate[name].abs() == FIXED_GATE).all() for layer in layers):
            self.prune(name)
            for layer in layers:
                layer.diff_weight[name].copy_(layer.kept)
                layer.diff_gate[name].copy_(torch.where(layer.kept != 0, FIXED_GATE, -FIXED_GATE))
                if name in layer.diff_group:
                    layer.diff_group[name].fill_(FIXED_GATE)
        for layer in layers:
            layer.settled, layer.kept = True, None


def largest_mask(strength: torch.Tensor, count: int) -> torch.Tensor:
    """A boolean mask [n] of exactly the `count` largest elements of `strength` [n]; of equal ones, the first.

    Ten times as fast as topk on a CPU.
    """
    if count >= strength.numel():
        return torch.ones_like(strength, dtype=torch.bool)
    least = strength.kthvalue(strength.numel() - count + 1).values
    mask = strength > least
    equal = (strength == least).nonzero().squeeze(1)[: count - int(mask.count_nonzero())]
    mask[equal] = True
    return mask


def shira_rank_limit(sizes: list[tuple[int, int]]) -> int:
    """The largest SHIRA rank r at which r·(rows + columns) does not exceed the element count of any matrix.

    sizes: (rows, columns) of each matrix.
    """
    return min(rows * columns // (rows + columns) for rows, columns in sizes)


def save_as_shira(model: PeftModel, folder: Path, name: str = "default") -> None:
    """Write the pruned difference of `model` as a SHIRA adapter of stock peft.

    SHIRA's r is the same in every layer: layers with fewer elements are padded with zeros.
    """
    tuner = model.base_model
    tuner.prune(name)
    layers = {key: layer for key, layer in tuner.layers().items() if layer.kept.count_nonzero()}
    rank = max((-(-int(layer.kept.count_nonzero()) // sum(layer.size)) for layer in layers.values()), default=1)
    tensors = {
        key: tensor
        for key, tensor in get_peft_model_state_dict(model, adapter_name=name).items()
        if ".diff_" not in key
    }  # modules_to_save, such as a classification head
    for key, layer in layers.items():
        places = layer.kept.nonzero().T
        missing = rank * sum(layer.size) - places.shape[1]
        tensors[f"base_model.model.{key}.shira_weight"] = nn.functional.pad(
            layer.kept[places[0], places[1]].float().cpu(), (0, missing)
        ).contiguous()
        tensors[f"base_model.model.{key}.shira_indices"] = nn.functional.pad(
            places.int().cpu(), (0, missing)
        ).contiguous()
    config = model.peft_config[name]
    folder.mkdir(parents=True, exist_ok=True)
    ShiraConfig(
        r=rank,
        target_modules=sorted(layers) or sorted(tuner.layers())[:1],
        task_type=config.task_type,
        inference_mode=True,
        base_model_name_or_path=config.base_model_name_or_path,
    ).save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})

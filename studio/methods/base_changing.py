"""Mixin for the methods that initialise LoRA with a part of each base weight, which is subtracted from the weight.

During training the base weight is thus W_res in W = W_res + s·B₀A₀. So that the result loads on the original base as a
stock LoRA, it is saved as the difference s·(BA − B₀A₀), which a LoRA of twice the rank represents exactly. peft's own
conversion (`path_initial_model_for_weight_conversion`) does the same, but loses a classification head. Independent of
how B₀ and A₀ are computed.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

from studio.methods.base import DEFAULT
from studio.methods.lora import write_lora
from studio.models.folders import weight_files
from studio.models.stored_tensors import loaded_names

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class BaseChangingLoRA:
    """Mixin, to be listed before LoRA, for methods whose `config` makes peft subtract s·B₀A₀ from the base weights."""

    leaves_base_unchanged: ClassVar[bool] = False

    def wrap(self, model, setting=DEFAULT):
        import torch
        from peft import get_peft_model_state_dict

        with torch.random.fork_rng():
            torch.manual_seed(setting.seed)  # the fast decomposition is random; a resumed run must repeat it
            model = super().wrap(model, setting)
        model.initial = {
            name: tensor.detach().clone()
            for name, tensor in get_peft_model_state_dict(model).items()
            if ".lora_" in name
        }
        return model

    def state(self, model):
        return model.initial

    def load_state(self, model, state):
        """Restore the B₀ and A₀ of the start of the run.

        Another machine may compute slightly different ones; the base weights are then corrected by the difference.
        """
        import torch

        with torch.no_grad():
            for name in [name.removesuffix(".lora_A.weight") for name in state if name.endswith(".lora_A.weight")]:
                own, began = (
                    [tensors[f"{name}.lora_{part}.weight"] for part in "BA"] for tensors in (model.initial, state)
                )
                began = [tensor.to(now.device) for tensor, now in zip(began, own, strict=True)]
                if not all(torch.equal(*pair) for pair in zip(own, began, strict=True)):
                    layer = model.get_submodule(name)
                    weight, back = (
                        layer.get_base_layer().weight,
                        layer.scaling["default"] * (own[0] @ own[1] - began[0] @ began[1]),
                    )
                    weight += (back.T if layer.fan_in_fan_out else back).to(weight.dtype)
        model.initial = {name: tensor.to(model.initial[name].device) for name, tensor in state.items()}

    def finish(self, model, base):
        """Restore the base weights from disk and convert the LoRA to the difference, of twice the rank.

        Reading the weights from disk avoids a second rounding. If a layer's weight is not found in `base`, the model is
        left unchanged; `save` then writes the same difference.
        """
        import torch

        layers = {name: model.get_submodule(name) for name in _layers(model.initial)}
        weights = _weights(base, [name.removeprefix("base_model.model.") for name in layers])
        if weights is None:
            return
        config = _doubled(model.peft_config["default"])
        with torch.no_grad():
            for (name, layer), weight in zip(layers.items(), weights, strict=True):
                own = layer.get_base_layer().weight
                own.copy_(weight.to(own.device, own.dtype))
                a, b = layer.lora_A["default"], layer.lora_B["default"]
                first = [model.initial[f"{name}.lora_{part}.weight"].to(own.device) for part in "AB"]
                a.weight.data, b.weight.data = _difference(a.weight, b.weight, *first)
                a.out_features = b.in_features = layer.r["default"] = config.r
                layer.scaling["default"] = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
        model.peft_config["default"], model.initial = config, {}

    def save(self, model, folder):
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(model)
        for name in _layers(model.initial):
            a, b = (f"{name}.lora_{part}.weight" for part in "AB")
            tensors[a], tensors[b] = _difference(tensors[a], tensors[b], model.initial[a], model.initial[b])
        config = model.peft_config["default"]
        write_lora(_doubled(config) if model.initial else copy.deepcopy(config), tensors, folder)


def _layers(tensors: dict) -> list[str]:
    """Names of the layers whose A and B are among `tensors`."""
    return [name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")]


def _doubled(config):
    """Copy `config` for the difference, of twice the rank, with an initialisation that needs no data when loaded."""
    made = copy.deepcopy(config)
    made.lora_alpha *= 2**0.5 if config.use_rslora else 2  # keeps the scaling at twice the rank
    made.r, made.init_lora_weights, made.corda_config, made.lora_ga_config = 2 * config.r, True, None, None
    return made


def _weights(base: Path, layers: list[str]) -> list[torch.Tensor] | None:
    """Read the weights of `layers` (names in memory) from the folder `base`; None if one is missing or ambiguous."""
    from safetensors import safe_open

    stored = {}
    for path in weight_files(base):
        with safe_open(path, "pt") as file:
            stored |= dict.fromkeys(file.keys(), path)
    places = {now: (stored[name], name) for name, now in loaded_names(stored).items()}
    found = []
    for layer in layers:
        # The prefix of the names differs if the model has another head, or is stored without its head.
        hits = [
            place
            for name, place in places.items()
            if name == f"{layer}.weight" or layer.endswith(f".{name.removesuffix('.weight')}")
        ]
        if len(hits) != 1:
            return None
        path, name = hits[0]
        with safe_open(path, "pt") as file:
            found.append(file.get_tensor(name))
    return found


def _difference(
    a: torch.Tensor, b: torch.Tensor, a_first: torch.Tensor, b_first: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (A [2r, input], B [output, 2r]) with BA = ba − b₀a₀.

    The two products nearly cancel, so they are subtracted in float64 before rounding.
    """
    import torch

    left, right = torch.cat([b, -b_first], 1).double(), torch.cat([a, a_first]).double()
    (left, upper), (right, lower) = torch.linalg.qr(left), torch.linalg.qr(right.T)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    found = [(s.sqrt()[:, None] * (v @ right.T)), (left @ u * s.sqrt())]
    missing = 2 * len(a) - len(s)  # if the layer is narrower than 2r
    return torch.nn.functional.pad(found[0], (0, 0, 0, missing)).to(a.dtype), torch.nn.functional.pad(
        found[1], (0, missing)
    ).to(b.dtype)

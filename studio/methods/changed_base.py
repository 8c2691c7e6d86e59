"""What the methods share that move a part of each base weight into a LoRA before they learn it.

The base is then no longer the base: W = W_res + s·B₀A₀. So that the result still loads over the untouched base, as a stock
LoRA, it is saved as the difference s·(BA − B₀A₀), which a LoRA of twice the rank holds exactly; peft's own conversion
(`path_initial_model_for_weight_conversion`) does the same, but loses a head for classes. It knows nothing about how B₀ and A₀
are found.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

from studio.methods.base import DEFAULT
from studio.methods.lora import write_lora

if TYPE_CHECKING:
    import torch


class ChangesBase:
    """Mix in before a LoRA whose `config` lets peft take B₀ and A₀ out of the base."""

    keeps_base: ClassVar[bool] = False

    def wrap(self, model, setting=DEFAULT):
        import torch
        from peft import get_peft_model_state_dict

        with torch.random.fork_rng():
            torch.manual_seed(setting.seed)  # the fast decomposition draws numbers; a resumed run must draw the same
            model = super().wrap(model, setting)
        model.initial = {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(model).items() if ".lora_" in name}
        return model

    def state(self, model):
        return model.initial

    def load_state(self, model, state):
        """Move out of the base exactly what was moved out when the run began, also where this machine would have found a little other B₀ and A₀."""
        import torch

        with torch.no_grad():
            for name in [name.removesuffix(".lora_A.weight") for name in state if name.endswith(".lora_A.weight")]:
                own, began = ([tensors[f"{name}.lora_{part}.weight"] for part in "BA"] for tensors in (model.initial, state))
                began = [tensor.to(now.device) for tensor, now in zip(began, own, strict=True)]
                if not all(torch.equal(*pair) for pair in zip(own, began, strict=True)):
                    layer = model.get_submodule(name)
                    weight, back = layer.get_base_layer().weight, layer.scaling["default"] * (own[0] @ own[1] - began[0] @ began[1])
                    weight += (back.T if layer.fan_in_fan_out else back).to(weight.dtype)
        model.initial = {name: tensor.to(model.initial[name].device) for name, tensor in state.items()}

    def save(self, model, folder):
        from peft import get_peft_model_state_dict

        config, tensors = copy.deepcopy(model.peft_config["default"]), get_peft_model_state_dict(model)
        for name in [name.removesuffix(".lora_A.weight") for name in model.initial if name.endswith(".lora_A.weight")]:
            a, b = (f"{name}.lora_{part}.weight" for part in "AB")
            tensors[a], tensors[b] = _difference(tensors[a], tensors[b], model.initial[a], model.initial[b])
        config.lora_alpha *= 2**0.5 if config.use_rslora else 2  # the rank is doubled, and the scaling stays
        config.r, config.init_lora_weights, config.corda_config, config.lora_ga_config = 2 * config.r, True, None, None  # whoever loads it needs no data
        write_lora(config, tensors, folder)


def _difference(a: torch.Tensor, b: torch.Tensor, a_first: torch.Tensor, b_first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(A [2r × input], B [output × 2r]) with BA = ba − b₀a₀. The two products nearly cancel, so they are taken from each other before they are rounded."""
    import torch

    left, right = torch.cat([b, -b_first], 1).double(), torch.cat([a, a_first]).double()
    (left, upper), (right, lower) = torch.linalg.qr(left), torch.linalg.qr(right.T)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    found = [(s.sqrt()[:, None] * (v @ right.T)), (left @ u * s.sqrt())]
    missing = 2 * len(a) - len(s)  # in a layer that is narrower than 2r
    return torch.nn.functional.pad(found[0], (0, 0, 0, missing)).to(a.dtype), torch.nn.functional.pad(found[1], (0, missing)).to(b.dtype)

"""What the methods share that move a part of each base weight into a LoRA before they learn it.

The base is then no longer the base: W = W_res + s·B₀A₀. So that the result still loads over the untouched base, as a stock
LoRA, it is saved as the difference s·(BA − B₀A₀), which a LoRA of twice the rank holds exactly (peft's
`path_initial_model_for_weight_conversion`). It knows nothing about how B₀ and A₀ are found.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from studio.methods.base import DEFAULT


class ChangesBase:
    """Mix in before a LoRA whose `config` lets peft take B₀ and A₀ out of the base."""

    keeps_base: ClassVar[bool] = False

    def wrap(self, model, setting=DEFAULT):
        import torch
        from peft import get_peft_model_state_dict

        with torch.random.fork_rng():
            torch.manual_seed(setting.seed)  # the fast decomposition draws numbers; a resumed run must draw the same
            model = super().wrap(model, setting)
        model.initial = {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(model).items()}
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
                    layer.get_base_layer().weight += layer.scaling["default"] * (own[0] @ own[1] - began[0] @ began[1]).to(layer.get_base_layer().weight.dtype)
        model.initial = {name: tensor.to(model.initial[name].device) for name, tensor in state.items()}

    def save(self, model, folder):
        from safetensors.torch import save_file

        with tempfile.TemporaryDirectory() as place:
            initial = Path(place) / "initial"  # peft takes the folder's name as the adapter's
            initial.mkdir()
            save_file({name: tensor.contiguous() for name, tensor in model.initial.items()}, initial / "adapter_model.safetensors")
            model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(initial))

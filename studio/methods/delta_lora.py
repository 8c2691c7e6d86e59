"""Delta-LoRA: also update the base weights, by the change of the product of the LoRA matrices."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.lora import LoRA, write_lora
from studio.options import option

_NAME = "default"  # peft's name of the adapter being trained


class DeltaLoRA(LoRA):
    """LoRA in which the frozen weights move too: at each step by a multiple of what that step changed in the LoRA's product.

    Equation: W ← W + λ·(α/r)·(B·A − B₋₁·A₋₁) after each step from step K on, beside W₀x + (α/r)·B·A·x
    Paper: Zi et al. 2023, Delta-LoRA: Fine-Tuning High-Rank Parameters with the Delta of Low-Rank Matrices, arXiv:2309.02411
    Good for: a stronger change from a small rank than LoRA makes at the same learning rate.
    Cost: LoRA's memory; a little more time at each step.
    Limits: the steps add up to W₀ + (1+λ)·(α/r)·B·A − λ·(α/r)·B_K·A_K, so it can do nothing that a LoRA of rank 2r cannot, and with
    K = 0 it is LoRA with α·(1+λ); it is computed and shipped as exactly that. A λ that is too large breaks the run.
    """

    title: ClassVar[str] = "Delta-LoRA"
    order: ClassVar[int] = 17

    name: Literal["delta_lora"] = option("delta_lora", "Method", "", hidden=True)
    # No dropout: with dropped inputs the change of the product would not be the update of W (Zi 2023, §3.2).
    dropout: float = option(0.0, "Dropout", "", ge=0, le=0, hidden=True)
    ratio: float = option(
        1.0,
        "Ratio λ of the weights' move",
        "How far the weights go along with each step of the LoRA; 1 doubles what it does.",
        gt=0,
        le=16,
    )
    start: float = option(
        0.1, "Start K", "Share of the run after which the weights begin to move.", unit="of the run", ge=0, le=0.9
    )

    def wrap(self, model, setting=DEFAULT):
        """Add LoRA and a hook that adds the accumulated weight update to each layer's output.

        The update is computed from A_K and B_K instead of being added to the base weights, which thus stay unchanged
        and may be quantised.
        """
        model = super().wrap(model, setting)
        for layer in _layers(model):
            layer.since = _product(layer) if self._first(setting) == 0 else None
            layer.register_forward_hook(self._move)
        return model

    def _first(self, setting) -> int:
        """The optimiser step K after which the weights are updated."""
        return int(self.start * setting.total_steps)

    def _move(self, layer, inputs, output):
        """Add λ·(α/r)·(B·A − B_K·A_K)·x to the output, without gradient to A and B, as in the paper."""
        from torch.nn.functional import linear

        if layer.since is None or layer.disable_adapters or layer.merged:
            return output
        (a, b), (a_first, b_first) = _product(layer, copied=False), layer.since
        x = inputs[0].to(a.dtype)
        moved = linear(linear(x, a), b) - linear(linear(x, a_first), b_first)
        return output + (self.ratio * layer.scaling[_NAME] * moved).to(output.dtype)

    def callbacks(self, setting=DEFAULT):
        from transformers import TrainerCallback

        first = self._first(setting)

        class Start(TrainerCallback):
            """Store A_K and B_K at step K, after which the weights are updated."""

            def on_optimizer_step(self, args, state, control, model=None, **kwargs):
                if state.global_step + 1 == first:
                    for layer in _layers(model):
                        layer.since = _product(layer)

        return [Start()]

    def state(self, model):
        """A_K and B_K of each layer, empty before step K."""
        pairs = {
            name: layer.since for name, layer in model.named_modules() if getattr(layer, "since", None) is not None
        }
        return {
            f"{which}:{name}": tensor for name, pair in pairs.items() for which, tensor in zip("AB", pair, strict=True)
        }

    def load_state(self, model, state):
        for name, layer in model.named_modules():
            if hasattr(layer, "since"):
                device = layer.lora_A[_NAME].weight.device
                layer.since = (
                    (state[f"A:{name}"].to(device), state[f"B:{name}"].to(device)) if f"A:{name}" in state else None
                )

    def save(self, model, folder):
        """Save as stock LoRA: of rank r if the weights were updated from the first step or never, else of rank 2r."""
        import torch
        from peft import get_peft_model_state_dict

        config = copy.copy(model.peft_config[_NAME])
        tensors = get_peft_model_state_dict(model)
        since = {
            name: layer.since for name, layer in model.named_modules() if getattr(layer, "since", None) is not None
        }
        scale = next(iter(_layers(model))).scaling[_NAME]
        if any(b.any() for _, b in since.values()):
            for name, (a_first, b_first) in since.items():
                first, second = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
                tensors[first] = torch.cat([tensors[first], a_first])
                tensors[second] = torch.cat([(1 + self.ratio) * tensors[second], -self.ratio * b_first], 1)
            config.r, config.use_rslora = 2 * self.rank, False
            config.lora_alpha = scale * config.r
        elif since:
            config.lora_alpha = (1 + self.ratio) * self.alpha
        write_lora(config, tensors, folder)


def _layers(model):
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _product(layer, copied: bool = True) -> tuple:
    """The layer's A [r, input] and B [output, r], detached; cloned if `copied`."""
    pair = (layer.lora_A[_NAME].weight.detach(), layer.lora_B[_NAME].weight.detach())
    return tuple(tensor.clone() for tensor in pair) if copied else pair

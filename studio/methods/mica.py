"""MiCA: LoRA with B frozen at the last left singular vectors of the weight."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

from studio.methods.lora import LoRA, write_lora
from studio.methods.saved_buffers import KeepsBuffers
from studio.models.shape import Shape
from studio.options import option


class MiCA(KeepsBuffers, LoRA):
    """Lets a LoRA write only into the weakest directions of each weight, where the model keeps little of what it knows.

    Equation: W₀ = U·S·Vᵀ, B = the last r columns of U, frozen; h = W₀x + (α/r)·B·A·x, A zero at the start
    Paper: Rüdiger and Raschka 2026, MiCA Learns More Knowledge Than LoRA and Full Fine-Tuning, arXiv:2604.01694
    Good for: training new facts while disturbing what the model knows already as little as possible; young.
    Cost: about half of LoRA's parameters at the same rank; a decomposition of every weight before the first step, slow on large models.
    Limits: not on 4- or 8-bit bases, whose weights cannot be decomposed; wants a higher learning rate than LoRA.
    """

    title: ClassVar[str] = "MiCA"
    order: ClassVar[int] = 19
    transposed: ClassVar[bool] = False
    learning_rate: ClassVar[float] = 5e-4
    found: ClassVar[str] = ".lora_B."

    name: Literal["mica"] = option("mica", "Method", "", hidden=True)

    def config(self, setting, **more):
        return super().config(setting, init_lora_weights="mica", **more)

    def save(self, model, folder):
        """Save as plain LoRA, so that loading it needs no decomposition."""
        from peft import get_peft_model_state_dict

        config = copy.copy(model.peft_config["default"])
        config.init_lora_weights = True
        write_lora(config, get_peft_model_state_dict(model), folder)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·input over the target layers: only A is trained (Rüdiger 2026)."""
        return sum(self.rank * inputs for inputs, _ in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

"""LoRA-FA: LoRA with A frozen."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.lora import LoRA
from studio.models.shape import Shape
from studio.options import option


class LoRAFA(LoRA):
    """LoRA whose first matrix stays random, so that only the second is trained and less has to be remembered at each step.

    Equation: h = W₀x + (α/r)·B·A·x, A Gaussian and frozen, only B is trained
    Paper: Zhang et al. 2023, LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models Fine-tuning, arXiv:2308.03303
    Good for: long texts on little memory; half of LoRA's parameters.
    Cost: 1.3 to 1.4 times less remembered activation than LoRA; wants a higher rank or learning rate.
    Limits: a little weaker than LoRA (40 % against 48 % in PEFT's own comparison); its gain on a GPU is small. B is
    trained by the optimiser that you choose; the corrected gradient of the paper's later version is left out, because peft has it for AdamW alone.
    """

    title: ClassVar[str] = "LoRA-FA"
    order: ClassVar[int] = 14
    learning_rate: ClassVar[float] = 4e-4

    name: Literal["lora_fa"] = option("lora_fa", "Method", "", hidden=True)

    def wrap(self, model, setting=DEFAULT):
        model = super().wrap(model, setting)
        for name, parameter in model.named_parameters():
            if ".lora_A." in name:
                parameter.requires_grad_(False)
        return model

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·output over the target layers (Zhang 2023, §3.1)."""
        return sum(self.rank * output for _, output in shape.targets(self.targets).values())

"""DoRA: weights decomposed into direction, adapted by LoRA, and a trainable magnitude."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import LoRA
from studio.models.shape import Shape
from studio.options import option


class DoRA(LoRA):
    """Splits each weight into a length and a direction, learns the length freely and the direction with a LoRA.

    Equation: W = m · (W₀ + (α/r)·B·A) / ‖W₀ + (α/r)·B·A‖, norm taken for each output
    Paper: Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353
    Good for: a little more quality than LoRA at low ranks.
    Cost: one more number for each output, and noticeably more time than LoRA at each step.
    Limits: not on 8-bit bases; servers cannot swap it in flight, so merge it before serving.
    """

    title: ClassVar[str] = "DoRA"
    order: ClassVar[int] = 12

    name: Literal["dora"] = option("dora", "Method", "", hidden=True)

    def config(self, setting, **more):
        return super().config(setting, use_dora=True, **more)

    def parameter_count(self, shape: Shape) -> int:
        """The parameters of LoRA, plus one magnitude for each output of each target layer (Liu 2024, §4.1)."""
        return super().parameter_count(shape) + sum(output for _, output in shape.targets(self.targets).values())

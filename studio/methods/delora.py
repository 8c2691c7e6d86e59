"""DeLoRA: LoRA with the magnitude of the delta trained separately from its direction."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class DeLoRA(Targeted):
    """Splits a LoRA into a direction and a strength, and learns the strength as one bounded number for each layer.

    Equation: ΔW = (λ/r)·‖W₀‖·B·Ξ·A, Ξ makes each pair of directions of length one; B zero at the start, λ trained
    Paper: Bini et al. 2025, Decoupling Angles and Strength in Low-rank Adaptation, arXiv:2503.18225
    Good for: long runs and high learning rates: the change cannot grow without bound.
    Cost: one more number a layer than LoRA; the directions are normed at each step, so it is slower.
    Limits: not on 4- or 8-bit bases; a change that needs to be large has to wait for λ to grow.
    """

    title: ClassVar[str] = "DeLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 63
    artefact_type: ClassVar[str] = "DELORA"

    name: Literal["delora"] = option("delora", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the two matrices. More learns more and costs more memory; 8 or 16 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    bound: float = option(
        15.0, "Bound λ", "Greatest strength of the change at the start; it is trained too.", gt=0, le=1000
    )
    dropout: float = option(
        0.0,
        "Dropout",
        "Share of the delta's inputs switched off at random while learning; 0.05–0.1 helps with little data.",
        ge=0,
        lt=1,
        search=SearchRange(0, 0.2),
    )

    def config(self, setting):
        from peft import DeloraConfig

        return DeloraConfig(**self.placed(setting), r=self.rank, delora_lambda=self.bound, module_dropout=self.dropout)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) + 1 over the target layers (Bini 2025, §3.2)."""
        return sum(self.rank * (inputs + outputs) + 1 for inputs, outputs in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

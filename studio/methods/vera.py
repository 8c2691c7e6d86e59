"""VeRA: two frozen random matrices shared by all layers, with trainable scaling vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class VeRA(Targeted):
    """Shares two frozen random matrices among all layers and learns only how strongly each of their channels counts.

    Equation: h = W₀x + Λ_b·B·Λ_d·A·x; A and B random and frozen, the diagonals trained, Λ_b zero at the start
    Paper: Kopiczko et al. 2023, VeRA: Vector-based Random Matrix Adaptation, arXiv:2310.11454
    Good for: many adapters over one base: ten times fewer trainable parameters than LoRA.
    Cost: like a LoRA of this rank in time; the file also holds the random matrices, so it is not as small as the count says.
    Limits: 35 % in PEFT's own comparison, where LoRA had 48 %; wants a high rank and a high learning rate.
    """

    title: ClassVar[str] = "VeRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 15
    artefact_type: ClassVar[str] = "VERA"
    transposed: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 4e-3

    name: Literal["vera"] = option("vera", "Method", "", hidden=True)
    rank: int = option(
        256,
        "Rank r",
        "Width of the random matrices, which cost no trainable parameters; 256 is usual.",
        ge=1,
        le=4096,
        search=SearchRange(2, 64, log=True),
    )

    def config(self, setting):
        from peft import VeraConfig

        return VeraConfig(**self.placed(setting), r=self.rank)

    def parameter_count(self, shape: Shape) -> int:
        """Σ (r + output) over the target layers (Kopiczko 2023, §3.2)."""
        return sum(self.rank + output for _, output in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

"""LoHa: a delta that is the element-wise (Hadamard) product of two low-rank matrices."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class LoHa(Targeted):
    """Learns two LoRAs for each layer and multiplies them element by element, which makes a change of a much higher rank.

    Equation: ΔW = (α/r)·(B₁·A₁) ⊙ (B₂·A₂), of rank up to r², zero at the start
    Paper: Hyeon-Woo et al. 2021, FedPara, arXiv:2108.06098; as an adapter: Yeh et al. 2023 (LyCORIS), arXiv:2309.14859
    Good for: more expressive changes than LoRA at the same number of trainable parameters; known from image models.
    Cost: twice LoRA's parameters at equal rank, and the whole ΔW is built at each step, so it is slower and takes more memory.
    Limits: not on 4-bit bases; common for images, less tried on language.
    """

    title: ClassVar[str] = "LoHa"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 50
    artefact_type: ClassVar[str] = "LOHA"
    learning_rate: ClassVar[float] = 1e-3

    name: Literal["loha"] = option("loha", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the four matrices; the change has a rank up to r².",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        16,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r. Twice the rank is usual.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )
    dropout: float = option(
        0.0,
        "Rank dropout",
        "Share of the change's rows switched off at random while learning.",
        ge=0,
        lt=1,
        advanced=True,
        search=SearchRange(0, 0.2),
    )

    def config(self, setting):
        from peft import LoHaConfig

        return LoHaConfig(**self.placed(setting), r=self.rank, alpha=self.alpha, rank_dropout=self.dropout)

    def parameter_count(self, shape: Shape) -> int:
        """Σ 2·r·(input + output) over the target layers (Hyeon-Woo 2021, Table 1)."""
        return sum(2 * self.rank * (rows + columns) for rows, columns in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

"""HiRA: a delta that is the element-wise (Hadamard) product of the weight and a low-rank matrix."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class HiRA(Targeted):
    """Learns by how much to turn each single weight up or down, and writes these factors as a low-rank matrix.

    Equation: ΔW = W₀ ⊙ (B·A), of any rank, zero at the start
    Paper: Huang et al. 2025, HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large Language Models, ICLR 2025
    Good for: a change of high rank for LoRA's number of trainable parameters; weights that are zero stay zero.
    Cost: as many parameters as a LoRA of the same rank; W₀ ⊙ BA is built at each step, so it is slower and takes more memory.
    Limits: wants a higher learning rate than LoRA, since the weights it scales are small.
    """

    title: ClassVar[str] = "HiRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 62
    artefact_type: ClassVar[str] = "HIRA"
    transposed: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-3

    name: Literal["hira"] = option("hira", "Method", "", hidden=True)
    rank: int = option(
        32,
        "Rank r",
        "Width of the two matrices. More learns more and costs more memory; 32 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
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
        from peft import HiraConfig

        return HiraConfig(**self.placed(setting), r=self.rank, hira_dropout=self.dropout)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the target layers (Huang 2025, §4.1)."""
        return sum(self.rank * (inputs + outputs) for inputs, outputs in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

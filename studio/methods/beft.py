"""BEFT: train only the biases of the value projections."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class BEFT(Targeted):
    """Learns one added bias in the value projection of each attention layer, and nothing else.

    Equation: v = W_v·x + b_v + Δb, only Δb is trained, zero at the start
    Paper: Huang et al. 2025, BEFT: Bias-Efficient Fine-Tuning of Language Models in Low-Data Regimes, arXiv:2509.15974
    Good for: very little data: of all biases in attention, those of the values gave the most in the paper.
    Cost: one number for each output of a value projection; next to no memory and time.
    Limits: learns little, so with more data LoRA is far ahead; merges only into models whose value projections have biases.
    """

    title: ClassVar[str] = "BEFT"
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "structured mask"
    order: ClassVar[int] = 31
    artefact_type: ClassVar[str] = "BEFT"
    learning_rate: ClassVar[float] = 5e-3

    name: Literal["beft"] = option("beft", "Method", "", hidden=True)
    targets: str = option(
        "v_proj,value",
        "Target modules",
        "Which layers get a bias: the value projections, or other names like q_proj.",
        min_length=1,
        advanced=True,
    )

    def config(self, setting):
        from peft import BeftConfig

        return BeftConfig(**self.placed(setting))

    def parameter_count(self, shape: Shape) -> int:
        """Σ output over the target layers (Huang 2025, §3)."""
        return sum(outputs for _, outputs in self.sizes(shape))

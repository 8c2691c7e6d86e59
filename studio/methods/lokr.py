"""LoKr: a delta that is the Kronecker product of a small and a low-rank matrix."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


def split(width: int, factor: int | None) -> tuple[int, int]:
    """Factor `width` into (m, n) with m·n = width.

    m is `factor` if that divides the width (it may then exceed n), else the largest divisor up to min(factor, √width).
    """
    if factor and width % factor == 0:
        return factor, width // factor
    most = min(factor or width, int(width**0.5))
    small = max(number for number in range(1, most + 1) if width % number == 0)
    return small, width // small


class LoKr(Targeted):
    """Writes the change of each weight as one small matrix whose every number is replaced by a scaled copy of another.

    Equation: ΔW = (α/r)·C ⊗ (B·A), C is m × m′ and zero at the start
    Paper: Edalati et al. 2022, KronA, arXiv:2212.10650; with a low-rank factor: Yeh et al. 2023 (LyCORIS), arXiv:2309.14859
    Good for: very small files with changes of a high rank; known from image models.
    Cost: a tenth of LoRA's parameters; the whole ΔW is built at each step, so it is slower than LoRA.
    Limits: not on 4-bit bases; the repeated pattern suits some tasks and not others; wants a higher learning rate.
    """

    title: ClassVar[str] = "LoKr"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 51
    artefact_type: ClassVar[str] = "LOKR"
    learning_rate: ClassVar[float] = 1e-3

    name: Literal["lokr"] = option("lokr", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the low-rank part; where it would save nothing, that part is a whole matrix.",
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
    factor: int = option(
        0,
        "Factor m",
        "Size of the small matrix; 0 takes the divisor of each width that is nearest to its root.",
        ge=0,
        le=512,
        advanced=True,
    )
    both: bool = option(
        False,
        "Both parts low-rank",
        "Write the small matrix as a product of two thin ones too, where that saves parameters.",
        advanced=True,
    )

    def config(self, setting):
        from peft import LoKrConfig

        return LoKrConfig(
            **self.placed(setting),
            r=self.rank,
            alpha=self.alpha,
            decompose_factor=self.factor or -1,
            decompose_both=self.both,
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ m·m′ + r·(n + n′) over the target layers, with output = m·n and input = m′·n′ (Yeh 2023, §3)."""
        return sum(
            self._layer(split(rows, self.factor), split(columns, self.factor)) for rows, columns in self.sizes(shape)
        )

    def _layer(self, inputs: tuple[int, int], outputs: tuple[int, int]) -> int:
        small = self._part(outputs[0], inputs[0], self.both)
        return small + self._part(outputs[1], inputs[1], True)

    def _part(self, rows: int, columns: int, thin: bool) -> int:
        """Parameters of a Kronecker factor: in low-rank form if `thin` and the rank is small enough, else in full."""
        return self.rank * (rows + columns) if thin and self.rank < max(rows, columns) / 2 else rows * columns

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

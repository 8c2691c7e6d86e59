"""HRA: a chain of trainable Householder reflections of the inputs of each layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence


class HRA(Targeted):
    """Passes the inputs of each layer through a chain of trainable mirrors, which turns them without changing their length.

    Equation: h = W₀·H₁·…·H_r·x, H_i = I − 2·u_i·u_iᵀ/‖u_i‖²; pairs of equal mirrors cancel at the start
    Paper: Yuan et al. 2024, Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection Adaptation, arXiv:2405.17484
    Good for: between LoRA and OFT: as few parameters as half a LoRA, as steady as a rotation.
    Cost: r·input parameters a layer; the mirrors are worked out one after another, so a high rank is slow.
    Limits: the rank must be even; cannot make a signal louder or softer; not on 4- or 8-bit bases.
    """

    title: ClassVar[str] = "HRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 57
    artefact_type: ClassVar[str] = "HRA"

    name: Literal["hra"] = option("hra", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "How many mirrors stand before each layer; an even number.",
        ge=2,
        le=256,
        search=SearchRange(2, 64, log=True),
    )
    gram_schmidt: bool = option(
        False,
        "Perpendicular mirrors",
        "Make the mirrors perpendicular to one another (Gram-Schmidt): closer to LoRA, and slower.",
        advanced=True,
    )

    def config(self, setting):
        from peft import HRAConfig

        return HRAConfig(**self.placed(setting), r=self.rank, apply_GS=self.gram_schmidt)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·input over the target layers (Yuan 2024, §3.1)."""
        return sum(self.rank * inputs for inputs, _ in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        if self.rank % 2:
            return Sentence(
                "HRA needs an even rank, so that its mirrors cancel at the start; use {lower} or {upper}.",
                lower=max(2, self.rank - 1),
                upper=self.rank + 1,
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

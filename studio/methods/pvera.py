"""PVeRA: probabilistic VeRA, whose hidden values are sampled from a trained distribution."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class PVeRA(Targeted):
    """VeRA that learns a mean and a spread for its inner values and draws them anew at each step while it learns; in use the mean counts.

    Equation: h = W₀x + Λ_b·B·z, z ~ N(μ, σ²) with μ and log σ² = Λ_d·A·x, the two halves; A and B random, shared and frozen
    Paper: Fillioux et al. 2025, PVeRA: Probabilistic Vector-Based Random Matrix Adaptation, arXiv:2512.07703
    Good for: few trainable parameters as with VeRA, with noise that keeps small data from being memorised; tried on pictures.
    Cost: one number for each output and two for each rank and layer; the noise slows the first steps down.
    Limits: wants a high rank and a high learning rate; young.
    """

    title: ClassVar[str] = "PVeRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 15
    artefact_type: ClassVar[str] = "PVERA"
    learning_rate: ClassVar[float] = 4e-3

    name: Literal["pvera"] = option("pvera", "Method", "", hidden=True)
    rank: int = option(
        256,
        "Rank r",
        "Width of the shared random matrices. They are not trained, so a high rank costs little.",
        ge=1,
        le=4096,
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
        from peft import PveraConfig

        return PveraConfig(
            **self.placed(setting), r=self.rank, pvera_dropout=self.dropout, projection_prng_key=setting.seed
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ output + 2·r over the target layers (Fillioux 2025, §3)."""
        return sum(outputs + 2 * self.rank for _, outputs in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

"""OSF: freeze the leading singular directions of each weight and train the rest, orthogonal to them."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class OSF(Targeted):
    """Freezes the strongest directions of each weight and trains all the others, keeping them at right angles to the frozen ones.

    Equation: W₀ = U₁S₁V₁ᵀ + U₂S₂V₂ᵀ; U₂, S₂ and V₂ are trained, and the part of their gradient along U₁ and V₁ is taken out
    Paper: Nayak et al. 2025, Sculpting Subspaces: Constrained Full Fine-Tuning in LLMs for Continual Learning, arXiv:2504.07097
    Good for: learning one task after the other without forgetting the earlier ones; nearly as much room as full fine-tuning.
    Cost: the more is left free, the more is trained and stored: at a half, nearly as many parameters as the weights have themselves.
    Limits: every weight is decomposed before the first step, which is slow on large models; not on 4- or 8-bit bases. The paper chooses the
    frozen part for each layer by itself, here it is the same share everywhere.
    """

    title: ClassVar[str] = "OSF"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 66
    artefact_type: ClassVar[str] = "OSF"
    learning_rate: ClassVar[float] = 5e-5

    name: Literal["osf"] = option("osf", "Method", "", hidden=True)
    frozen: float = option(
        0.5,
        "Frozen share",
        "Share of each weight's directions, the strongest ones, that stays as it is. More forgets less and learns "
        "less.",
        ge=0.05,
        le=0.98,
    )

    def config(self, setting):
        from peft import OSFConfig

        return OSFConfig(**self.placed(setting), effective_rank=self.frozen)

    def parameter_count(self, shape: Shape) -> int:
        """Σ (k − ⌊share·k⌋)·(input + output + 1) over the target layers, k = min(input, output) (Nayak 2025, §3)."""
        return sum((min(pair) - int(min(pair) * self.frozen)) * (sum(pair) + 1) for pair in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} {self.frozen:.0%} frozen"

"""GLoRA: scale and shift each weight, and its bias, by low-rank terms."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class GLoRA(Targeted):
    """Learns to scale a weight, to add to it and to move its bias, all at once and each with a few parameters.

    Equation: W = W₀ + W₀ ⊙ A + B,  b = b₀ + b₀·D + E + W₀·C; A, B and C of low rank, all zero at the start
    Paper: Chavan et al. 2023, One-for-All: Generalized LoRA for Parameter-Efficient Fine-Tuning, arXiv:2306.07967
    Good for: getting the last bit out of a small model: it holds LoRA, scaling and bias tuning in one.
    Cost: more than twice the numbers of a LoRA of the same rank; the whole weight is built at each step, so it is slower.
    Limits: not on 4- or 8-bit bases; the paper also searches which parts each layer needs, which is not done here.
    """

    title: ClassVar[str] = "GLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 65
    artefact_type: ClassVar[str] = "GLORA"
    unknown: ClassVar[tuple[str, ...]] = ("falcon",)

    name: Literal["glora"] = option("glora", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the low-rank parts. More learns more and costs more memory; 4 or 8 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    biases: bool = option(
        True, "Move the biases", "Also learn C, D and E, in the layers that have a bias.", advanced=True
    )

    def config(self, setting):
        from peft import GloraConfig

        more = {} if self.biases else {"config_C": "none", "config_D_E": "none"}
        return GloraConfig(**self.placed(setting), r=self.rank, **more)

    def parameter_count(self, shape: Shape) -> int:
        """Σ 2·r·(input + output) over the target layers, and r·(input + 1) + 2 for each bias (Chavan 2023, §3.2)."""
        found = shape.targets(self.targets).items()
        biased = [inputs for name, (inputs, _) in found if self.biases and f"{name}.bias" in shape.tensors]
        return sum(2 * self.rank * (inputs + outputs) for _, (inputs, outputs) in found) + sum(
            self.rank * (inputs + 1) + 2 for inputs in biased
        )

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

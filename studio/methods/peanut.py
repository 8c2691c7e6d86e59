"""PEANuT: a small network that reads the weight and writes its change."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class PEANuT(Targeted):
    """Lets a small network look at the frozen weights themselves and write the change that is added to them.

    Equation: ΔW = f(W₀ᵀ·A)·B, with a bend f between two thin matrices; B zero at the start
    Paper: PEANuT: Parameter-Efficient Adaptation with Weight-aware Neural Tweakers, 2024, arXiv:2410.01870
    Good for: changes that a low-rank matrix cannot hold, and still one that can be merged.
    Cost: 2·r·output numbers a layer; the whole ΔW is built at each step, so it is slower than LoRA.
    Limits: not on 4- or 8-bit bases; young, and little tried by others.
    """

    title: ClassVar[str] = "PEANuT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 66
    ships_as: ClassVar[str] = "PEANUT"

    name: Literal["peanut"] = option("peanut", "Method", "", hidden=True)
    rank: int = option(16, "Rank r", "Width of the network. More learns more and costs more memory; 16 or 32 is usual.", ge=1, le=512)
    depth: int = option(0, "Hidden layers", "Pairs of further layers inside the network; 0 is a single bend.", ge=0, le=8, advanced=True)
    activation: Literal["relu", "gelu", "silu"] = option("relu", "Activation f", "The bend between the two layers of each network.", advanced=True,
                                                         labels={"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"})

    def config(self, setting):
        from peft import PeanutConfig

        return PeanutConfig(**self.placed(setting), r=self.rank, depth=self.depth, act_fn=self.activation)

    def parameter_count(self, shape: Shape) -> int:
        """Σ 2·r·output + 2·depth·r² over the target layers: A, B and the layers between them."""
        return sum(2 * self.rank * outputs + 2 * self.depth * self.rank**2 for _, outputs in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

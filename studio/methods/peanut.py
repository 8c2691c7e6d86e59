"""PEANuT: a delta computed from the base weight by a small neural network."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class PEANuT(Targeted):
    """Lets a little network look at each weight of the base and work out from it how that weight should change.

    Equation: ΔW = f(W₀·A)·B with f a small network of r inputs and outputs, B zero at the start
    Paper: Zhong et al. 2024, PEANuT: Parameter-Efficient Adaptation with Weight-aware Neural Tweakers, arXiv:2410.01870
    Good for: tasks for which LoRA's straight products are too simple, at about LoRA's number of trainable parameters.
    Cost: the network runs over every row of every weight at each step, so it takes more memory and time than LoRA; merged it costs nothing in use.
    Limits: not on 4- or 8-bit bases, since it would look at the packed bytes; young.
    """

    title: ClassVar[str] = "PEANuT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 62
    artefact_type: ClassVar[str] = "PEANUT"

    name: Literal["peanut"] = option("peanut", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the network. More learns more and costs more memory; 8 or 16 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    depth: int = option(
        1,
        "Hidden layers",
        "How many further pairs of layers the network has in the middle; 0 leaves one bend between A and B.",
        ge=0,
        le=16,
    )
    scale: float = option(1.0, "Scale", "Strength of the change.", gt=0, le=100, advanced=True)
    activation: Literal["relu", "gelu", "silu", "tanh"] = option(
        "relu",
        "Activation",
        "What bends the network's values.",
        advanced=True,
        labels={"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "tanh"},
    )

    def config(self, setting):
        from peft import PeanutConfig

        return PeanutConfig(
            **self.placed(setting), r=self.rank, depth=self.depth, scaling=self.scale, act_fn=self.activation
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ 2·r·output + 2·depth·r² over the target layers: A and B, and pairs of hidden layers (Zhong 2024, §3).

        As in PEFT, the network reads W₀ along its outputs.
        """
        return sum(2 * self.rank * outputs + 2 * self.depth * self.rank**2 for _, outputs in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

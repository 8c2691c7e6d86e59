"""TinyLoRA: a delta with very few trainable parameters, down to one."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.saved_buffers import KeepsBuffers
from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class TinyLoRA(KeepsBuffers, Targeted):
    """Changes each weight along a few of its own strongest directions, steered by a vector of a handful of parameters that all layers may share.

    Equation: W₀ ≈ U·S·Vᵀ of rank r, ΔW = U·S·(Σᵢ vᵢ·Pᵢ)·Vᵀ, with P fixed random r × r matrices; only v, u parameters long, is trained
    Paper: Morris et al. 2026, Learning to Reason in 13 Parameters, arXiv:2602.04118
    Good for: seeing how little a task needs; preferences and rewards, where the paper came as far as 91 % on GSM8K with 13 parameters.
    Cost: u parameters a layer, or u in all when everything is shared; a decomposition of every weight before the first step.
    Limits: from examples with answers it needs 100 to 1000 times more parameters for the same quality, says the paper; wants a high learning
    rate; not on 4- or 8-bit bases, whose weights cannot be decomposed.
    """

    title: ClassVar[str] = "TinyLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 57
    artefact_type: ClassVar[str] = "TINYLORA"
    learning_rate: ClassVar[float] = 1e-3
    found: ClassVar[str] = "tinylora_"

    name: Literal["tinylora"] = option("tinylora", "Method", "", hidden=True)
    parameters: int = option(
        64,
        "Trainable parameters u",
        "How many parameters steer a layer; the paper went down to 13 in all, and to 1.",
        ge=1,
        le=65_536,
    )
    rank: int = option(
        8,
        "Rank r",
        "How many of its strongest directions a weight may change along. The paper found 2 to be best for rewards; "
        "examples with answers need more.",
        ge=1,
        le=64,
        search=SearchRange(2, 64, log=True),
    )
    shared: float = option(
        0.0,
        "Shared",
        "How much the layers share their parameters: 0 is not at all, 1 is one vector for the whole model.",
        ge=0,
        le=1,
    )

    def config(self, setting):
        from peft import TinyLoraConfig

        return TinyLoraConfig(
            **self.placed(setting),
            r=self.rank,
            u=self.parameters,
            weight_tying=self.shared,
            projection_seed=setting.seed,
        )

    def parameter_count(self, shape: Shape) -> int:
        """u for each group of layers that share a vector (Morris 2026, §3)."""
        layers = len(self.sizes(shape))
        groups = max(1, round(layers * (1 - self.shared)))
        return self.parameters * len({min(at // max(1, layers // groups), groups - 1) for at in range(layers)})

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} u={self.parameters}"

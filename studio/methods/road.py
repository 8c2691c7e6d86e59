"""RoAd: rotate and scale pairs of each layer's outputs."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


class RoAd(Targeted):
    """Takes the outputs of each layer in pairs, and learns to turn each pair in its plane and to scale it.

    Equation: [h_i, h_j] ← α·[cos θ, −sin θ; sin θ, cos θ]·[h_i, h_j], θ = 0 and α = 1 at the start
    Paper: Liao & Monz 2024, 3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and Composability, arXiv:2409.00119
    Good for: many adapters served at once: different ones can answer in the same batch at next to no cost.
    Cost: one number for each output (variant 1), two or four times that for the others; hardly any time.
    Limits: learns a change of manner rather than new skills; wants a learning rate ten times LoRA's.
    """

    title: ClassVar[str] = "RoAd"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 64
    artefact_type: ClassVar[str] = "ROAD"
    learning_rate: ClassVar[float] = 2e-3

    name: Literal["road"] = option("road", "Method", "", hidden=True)
    variant: Literal["road_1", "road_2", "road_4"] = option(
        "road_1",
        "Variant",
        "How many angles and scales each pair has: one, two or four of each.",
        labels={"road_1": "RoAd 1", "road_2": "RoAd 2", "road_4": "RoAd 4"},
    )
    group: int = option(
        64,
        "Group size",
        "Which outputs form pairs; it changes speed in some servers, not quality. An even number that divides every "
        "layer's outputs.",
        ge=2,
        le=1024,
        advanced=True,
    )

    def config(self, setting):
        from peft import RoadConfig

        return RoadConfig(**self.placed(setting), variant=self.variant, group_size=self.group)

    def parameter_count(self, shape: Shape) -> int:
        """1, 2 or 4 for each output of each target layer, by variant (Liao & Monz 2024, §3.2)."""
        return sum(int(self.variant[-1]) * outputs for _, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        if self.group % 2:
            return Sentence(
                "Group size must be even, because outputs are taken in pairs; use {upper}.", upper=self.group + 1
            )
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "group", inputs=False)

    def summary(self) -> str:
        return f"{self.title} {self.variant[-1]}"

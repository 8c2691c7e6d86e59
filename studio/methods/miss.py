"""MiSS: one small matrix per layer, shared by all shards of its inputs."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence


class MiSS(Targeted):
    """Learns one thin matrix for each layer and lays it over the weight again and again, like a tile.

    Equation: h = W₀x + Dᵀ·S·x, S sums the inputs in shards of r, D is r × output and zero at the start
    Paper: Kang & Yin 2024, MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure, arXiv:2409.15371
    Good for: LoRA's quality with less memory: 48.7 % at 18.9 GiB in PEFT's own comparison, where LoRA had 47.8 % at 20.8 GiB.
    Cost: r·output parameters a layer, half of LoRA's or less at equal rank.
    Limits: fewer servers can load it than LoRA; convert or merge it for those.
    """

    title: ClassVar[str] = "MiSS"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 58
    artefact_type: ClassVar[str] = "MISS"

    name: Literal["miss"] = option("miss", "Method", "", hidden=True)
    rank: int = option(
        64,
        "Rank r",
        "Height of the tile. More learns more and costs more memory; 64 is usual.",
        ge=1,
        le=1024,
        search=SearchRange(2, 64, log=True),
    )
    variant: Literal["balance", "bat"] = option(
        "balance",
        "Variant",
        "Lay the tile as it is, or multiply it with the weight first, which learns more at the price of time.",
        advanced=True,
        labels={"balance": "Balance", "bat": "Bat"},
    )

    def config(self, setting):
        from peft import MissConfig

        return MissConfig(
            **self.placed(setting), r=self.rank, init_weights=True if self.variant == "balance" else "bat"
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·output over the target layers (Kang & Yin 2024, §3)."""
        return sum(self.rank * outputs for _, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        if self.variant == "bat" and (unfit := self.divisibility_refusal(shape, "rank")):
            return unfit
        if shape is not None and self.rank > (
            narrowest := min((inputs for inputs, _ in self.sizes(shape)), default=self.rank)
        ):
            return Sentence(
                "Rank r is {rank}, but the narrowest layer has {width} inputs; use {width} or less.",
                rank=self.rank,
                width=narrowest,
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

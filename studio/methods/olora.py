"""OLoRA: LoRA initialised from the QR decomposition of the weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base_changing import BaseChangingLoRA
from studio.methods.lora import LoRA
from studio.options import option


class OLoRA(BaseChangingLoRA, LoRA):
    """Starts the two matrices of a LoRA as perpendicular directions of each weight instead of noise and zeros.

    Equation: W₀ = Q·R, B₀ = Q_r, A₀ = R_r, h = (W₀ − (α/r)·B₀·A₀)x + (α/r)·B·A·x
    Paper: Büyükakyüz 2024, OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models, arXiv:2406.01775
    Good for: faster learning than LoRA in the first steps, with a start that is cheaper to find than PiSSA's.
    Cost: a QR decomposition of every weight before the first step; the adapter is saved as a LoRA of twice the rank.
    Limits: it changes the base while it learns, so not on 4- or 8-bit bases, and in 16 bit the moved part is rounded.
    """

    title: ClassVar[str] = "OLoRA"
    order: ClassVar[int] = 18
    transposed: ClassVar[bool] = False

    name: Literal["olora"] = option("olora", "Method", "", hidden=True)

    def config(self, setting, **more):
        return super().config(setting, init_lora_weights="olora", **more)

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

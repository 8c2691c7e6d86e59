"""PiSSA: LoRA initialised with the principal singular directions of the weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base_changing import BaseChangingLoRA
from studio.methods.lora import LoRA
from studio.options import option


class PiSSA(BaseChangingLoRA, LoRA):
    """Takes the strongest directions out of each weight and trains those, leaving the weak rest as it is.

    Equation: W₀ = U·S·Vᵀ, (α/r)·B₀·A₀ = U_r·S_r·V_rᵀ, h = (W₀ − (α/r)·B₀·A₀)x + (α/r)·B·A·x
    Paper: Meng et al. 2024, PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models, arXiv:2404.02948
    Good for: faster learning than LoRA at the same rank, because the gradients are large from the first step.
    Cost: a decomposition of every weight before the first step; the adapter is saved as a LoRA of twice the rank.
    Limits: it changes the base while it learns, so not on 4- or 8-bit bases, and in 16 bit the moved part is rounded; forgets more easily than LoRA.
    """

    title: ClassVar[str] = "PiSSA"
    order: ClassVar[int] = 17

    name: Literal["pissa"] = option("pissa", "Method", "", hidden=True)
    decomposition: Literal["fast", "exact"] = option(
        "fast",
        "Decomposition",
        "How the strongest directions are found; fast is nearly the same and takes seconds instead of minutes on big "
        "models.",
        labels={"fast": "Fast (16 rounds)", "exact": "Exact (SVD)"},
        advanced=True,
    )

    def config(self, setting, **more):
        return super().config(
            setting, init_lora_weights="pissa" if self.decomposition == "exact" else "pissa_niter_16", **more
        )

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

"""rsLoRA: LoRA scaled by α/√r instead of α/r."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import LoRA
from studio.options import SearchRange, option


class RsLoRA(LoRA):
    """LoRA whose strength falls with the root of the rank instead of the rank, so that high ranks really learn more.

    Equation: h = W₀x + (α/√r)·B·A·x
    Paper: Kalajdzievski 2023, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA, arXiv:2312.03732
    Good for: ranks of 32 and more, where plain LoRA stops gaining.
    Cost: that of a LoRA of the same rank.
    Limits: at small ranks no different from LoRA with another α; two of them cannot be blended exactly.
    """

    title: ClassVar[str] = "rsLoRA"
    order: ClassVar[int] = 16

    name: Literal["rslora"] = option("rslora", "Method", "", hidden=True)
    rank: int = option(
        32,
        "Rank r",
        "Width of the two matrices. More learns more and costs more memory; 32 to 256 is what this scaling is for.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        16,
        "Alpha α",
        "Strength of the delta: it is scaled by α/√r. Half the rank or less is usual.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )
    rslora: Literal[True] = option(True, "Rank-stabilised scaling", "", hidden=True)

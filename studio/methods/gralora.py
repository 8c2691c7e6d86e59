"""GraLoRA: a separate LoRA for each of k × k blocks of a weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence


class GraLoRA(Targeted):
    """Cuts each weight into blocks and gives every block a small LoRA of its own, so that one loud input cannot spoil all of them.

    Equation: ΔW in k × k blocks, each (α/r)·B_ij·A_ij of rank r/k; A random and B zero at the start
    Paper: Jung et al. 2025, GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning, arXiv:2505.20355
    Good for: high ranks, where LoRA stops gaining: k times LoRA's rank for the same number of trainable parameters.
    Cost: that of a LoRA of the same rank, and a little time for the blocks.
    Limits: no gain at small ranks; k must divide the rank and the width of every layer; not on 4- or 8-bit bases.
    """

    title: ClassVar[str] = "GraLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 61
    artefact_type: ClassVar[str] = "GRALORA"
    transposed: ClassVar[bool] = True

    name: Literal["gralora"] = option("gralora", "Method", "", hidden=True)
    rank: int = option(
        32,
        "Rank r",
        "Numbers as in a LoRA of this rank, which are shared out among the blocks.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        64,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r. Twice the rank is usual.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )
    parts: int = option(
        2, "Parts k", "Each weight is cut into k × k blocks: 2 up to rank 32, 4 from rank 64.", ge=2, le=32
    )
    hybrid: int = option(
        0,
        "Plain LoRA beside it",
        "Rank of an ordinary LoRA over the whole weight, beside the blocks; 0 for none.",
        ge=0,
        le=512,
        advanced=True,
    )
    dropout: float = option(
        0.0,
        "Dropout",
        "Share of the delta's inputs switched off at random while learning; 0.05–0.1 helps with little data.",
        ge=0,
        lt=1,
        search=SearchRange(0, 0.2),
    )

    def config(self, setting):
        from peft import GraloraConfig

        return GraloraConfig(
            **self.placed(setting),
            r=self.rank,
            alpha=self.alpha,
            gralora_k=self.parts,
            hybrid_r=self.hybrid,
            gralora_dropout=self.dropout,
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ (r + hybrid)·(input + output) over the target layers, independent of k (Jung 2025, §3.2)."""
        return sum((self.rank + self.hybrid) * (inputs + outputs) for inputs, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        if self.rank % self.parts:
            return Sentence(
                "The rank {rank} cannot be shared out among {parts} parts; use a rank of {some}.",
                rank=self.rank,
                parts=self.parts,
                some=max(1, self.rank // self.parts) * self.parts,
            )
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "parts")

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

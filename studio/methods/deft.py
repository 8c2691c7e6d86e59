"""DEFT: project a trainable subspace out of each weight and replace it by trainable values."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class DEFT(Targeted):
    """Learns a few directions that are taken out of each weight, and what is written there instead.

    Equation: W = (I − Q·Qᵀ)·W₀ + Q·R, with Q the perpendicular directions of a trainable P; R starts so that W = W₀
    Paper: Kumar et al. 2025, DEFT: Decompositional Efficient Fine-Tuning for Text-to-Image Models, arXiv:2509.22793
    Good for: replacing what the model does in some respect, rather than adding to it.
    Cost: as many parameters as a LoRA of the same rank; the whole weight is built at each step, so it takes more memory and time.
    Limits: not on 4- or 8-bit bases; the paper tried it on models that paint, not on language.
    """

    title: ClassVar[str] = "DEFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 64
    artefact_type: ClassVar[str] = "DEFT"

    name: Literal["deft"] = option("deft", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "How many directions are replaced in each weight. More learns more and costs more memory; 8 or 16 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    directions: Literal["qr", "relu"] = option(
        "qr",
        "Directions",
        "Perpendicular directions are taken out exactly; the plain ones are faster and take out only about that.",
        labels={"qr": "Perpendicular (QR)", "relu": "Plain (ReLU)"},
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
        from peft import DeftConfig

        return DeftConfig(
            **self.placed(setting), r=self.rank, decomposition_method=self.directions, deft_dropout=self.dropout
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the target layers (Kumar 2025, §3)."""
        return sum(self.rank * (inputs + outputs) for inputs, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

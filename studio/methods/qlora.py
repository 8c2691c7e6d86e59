"""QLoRA: LoRA on a base model quantised to 4 bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import LoRA
from studio.options import option


class QLoRA(LoRA):
    """Quantises the base model to 4 bits a weight and trains a LoRA on top of it, so that big models fit on small machines.

    Equation: h = dequantise(W_NF4)·x + (α/r)·B·A·x
    Paper: Dettmers et al. 2023, QLoRA: Efficient Finetuning of Quantized LLMs, arXiv:2305.14314
    Good for: models that would not fit otherwise: a quarter of the base's memory, a 65 B model on one 48 GB card.
    Cost: some speed, because weights are unpacked at every step; a little accuracy of the base.
    Limits: merge into a 16-bit base, not into the 4-bit one, which would lose precision.
    """

    title: ClassVar[str] = "QLoRA"
    order: ClassVar[int] = 11
    quantisation: ClassVar[str | None] = "nf4"

    name: Literal["qlora"] = option("qlora", "Method", "", hidden=True)
    double_quantisation: bool = option(
        True,
        "Double quantisation",
        "Also quantise the scales of the 4-bit weights: 0.4 bits less a weight.",
        advanced=True,
    )

"""LoRA+: LoRA with separate learning rates for A and B."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import LoRA
from studio.options import option


class LoRAPlus(LoRA):
    """LoRA in which the second matrix learns faster than the first, which reaches the same quality in fewer steps.

    Equation: η_B = λ·η_A, with λ about 16
    Paper: Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models, arXiv:2402.12354
    Good for: hard tasks and wide models; up to 2× fewer steps in the paper.
    Cost: the same as LoRA; one more number to choose.
    Limits: with a large λ lower the learning rate, or the loss jumps.
    """

    title: ClassVar[str] = "LoRA+"
    order: ClassVar[int] = 13

    name: Literal["lora_plus"] = option("lora_plus", "Method", "", hidden=True)
    ratio: float = option(
        4.0,
        "Ratio λ",
        "How many times faster B learns than A. The paper suggests up to 16 with a small learning rate.",
        ge=1,
        le=128,
    )

    def optimizer(self, model, cls, arguments):
        from peft.optimizers import create_loraplus_optimizer

        # peft has its own name for the weight decay, whose default is 0.
        rest = {key: value for key, value in arguments.items() if key != "weight_decay"}
        return create_loraplus_optimizer(
            model,
            optimizer_cls=cls,
            loraplus_lr_ratio=self.ratio,
            loraplus_weight_decay=arguments["weight_decay"],
            **rest,
        )

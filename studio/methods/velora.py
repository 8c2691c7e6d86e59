"""VeLoRA: LoRA that stores compressed inputs for the backward pass."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

from studio.methods.lora import LoRA, write_lora
from studio.options import option


class VeLoRA(LoRA):
    """LoRA that keeps only one number for each group of a token's inputs until the gradient is taken, and so needs less memory while it learns.

    Equation: h = W₀x + (α/r)·B·A·x; in the gradient of A, each group x_g of x is replaced by (x_g·v)·v, with v the batch's mean group
    Paper: Miles et al. 2024, VeLoRA: Memory Efficient Training using Rank-1 Sub-Token Projections, arXiv:2405.17991
    Good for: long rows or large batches that just do not fit with LoRA.
    Cost: the gradient of A is only nearly right, so it may learn a little slower; saved as a plain LoRA.
    Limits: saves only what the matrices A remember of their inputs, the rest of the model remembers as much as before; not on 4- or 8-bit bases.
    """

    title: ClassVar[str] = "VeLoRA"
    order: ClassVar[int] = 19
    transposed: ClassVar[bool] = False

    name: Literal["velora"] = option("velora", "Method", "", hidden=True)
    groups: int = option(
        64,
        "Groups",
        "Into how many groups a token's inputs are divided. More is more exact and takes more memory.",
        ge=1,
        le=4096,
    )

    def config(self, setting, **more):
        from peft import VeloraConfig

        return super().config(setting, velora_config=VeloraConfig(num_groups=self.groups), **more)

    def save(self, model, folder):
        """Save as plain LoRA: the compression affects training only."""
        from peft import get_peft_model_state_dict

        config = copy.copy(model.peft_config["default"])
        config.velora_config = None
        write_lora(
            config,
            {name: tensor for name, tensor in get_peft_model_state_dict(model).items() if "velora" not in name},
            folder,
        )

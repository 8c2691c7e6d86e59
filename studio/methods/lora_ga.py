"""LoRA-GA: LoRA initialised from the gradients of full fine-tuning."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.base_changing import BaseChangingLoRA
from studio.methods.lora import LoRA
from studio.methods.targets import target_layers
from studio.options import option


class LoRAGA(BaseChangingLoRA, LoRA):
    """Looks at which way full fine-tuning would pull each weight on some of your data, and starts both matrices of the LoRA along it.

    Equation: G = ∂L/∂W₀ over some batches = U·S·Vᵀ, A₀ = rows 1 … r of Vᵀ, B₀ ∝ columns r+1 … 2r of U, h = (W₀ − (α/r)·B₀·A₀)x + (α/r)·B·A·x
    Paper: Wang et al. 2024, LoRA-GA: Low-Rank Adaptation with Gradient Approximation, arXiv:2407.05000
    Good for: runs that must be short: the first steps go where full fine-tuning would go, 2 to 4 times faster than LoRA in the paper.
    Cost: the gradients of all target weights must fit into memory once before the first step; the adapter is saved as a LoRA of twice the rank.
    Limits: it changes the base while it learns, so not on 4- or 8-bit bases, and in 16 bit the moved part is rounded.
    """

    title: ClassVar[str] = "LoRA-GA"
    order: ClassVar[int] = 18
    transposed: ClassVar[bool] = False
    # Falcon modifies its layers' outputs in place, which the hooks do not allow with which peft reads gradients.
    unknown: ClassVar[tuple[str, ...]] = ("falcon",)

    name: Literal["lora_ga"] = option("lora_ga", "Method", "", hidden=True)
    sample: int = option(
        8,
        "Batches to look at",
        "How many batches the gradient is taken over before the first step.",
        unit="batches",
        ge=1,
        le=1000,
    )
    stability: int = option(
        16,
        "Stability γ",
        "Larger starts with smaller matrices: less of the base is moved, and the first steps are smaller.",
        ge=1,
        le=1024,
        advanced=True,
    )

    def config(self, setting, **more):
        from peft import LoraGAConfig

        if setting.batches is None:  # only the parameters are counted
            return super().config(setting, **more)
        return super().config(
            setting, init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig(stable_gamma=self.stability), **more
        )

    def wrap(self, model, setting=DEFAULT):
        from peft.tuners.lora.loraga import preprocess_loraga

        def pull():
            for batch in setting.batches(self.sample):
                model(**batch).loss.backward()

        if setting.batches is not None:
            config = self.config(setting)
            # `preprocess_loraga` does not support "all-linear".
            config.target_modules = set(target_layers(model, self.targets, setting))
            preprocess_loraga(model, config, pull)
        return super().wrap(model, setting)

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 2) or super().refusal(shape, task, quantisation)

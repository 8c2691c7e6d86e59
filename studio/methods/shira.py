"""SHiRA: train a sparse set of single weights in each layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.masking import Masked, from_gradients, looked_at, magnitudes
from studio.methods.targets import target_layers
from studio.options import option


class SHiRA(Masked):
    """Picks a few single weights in each layer, some in a hundred, and changes only those.

    Equation: W = W₀ + M ⊙ ΔW, M has r·(input + output) ones, ΔW zero at the start
    Paper: Bhardwaj et al. 2024, Sparse High Rank Adapters, arXiv:2406.13175
    Good for: switching adapters in no time, and several at once that hardly touch one another; 51.0 % in PEFT's own comparison, where LoRA had 47.8 %.
    Cost: as many parameters as a LoRA of this rank, three times its file for their places; a full-size sum at each step.
    Limits: saves memory of the optimiser, not of the gradients' path; fewer servers can load it than LoRA, so merge it for those.
    """

    title: ClassVar[str] = "SHiRA"
    order: ClassVar[int] = 42

    name: Literal["shira"] = option("shira", "Method", "", hidden=True)
    mask: Literal["random", "magnitude", "gradient"] = option(
        "random",
        "Which weights",
        "How the weights are picked: at random, the largest, or those that the first training batches pull at most.",
        labels={"random": "At random", "magnitude": "The largest", "gradient": "The largest gradient"},
    )
    batches: int = option(
        4,
        "Batches looked at",
        "How many training batches are looked at to pick weights; used when picking by gradient.",
        ge=1,
        le=1024,
        advanced=True,
    )

    def scores(self, model, setting):
        if self.mask == "gradient":
            return from_gradients(
                model,
                target_layers(model, self.targets, setting).values(),
                looked_at(setting, self.batches),
                fisher=False,
            )
        return magnitudes if self.mask == "magnitude" else None

"""FISH mask: train the single weights with the highest Fisher information."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.masking import Masked, from_gradients, looked_at
from studio.methods.targets import target_layers
from studio.options import option


class FISH(Masked):
    """Looks at some of the data first, finds the single weights on which the answers depend most, and changes only those.

    Equation: F_w = mean over examples of (∂ log p(y|x)/∂w)²; the weights with the highest F_w of each layer are trained
    Paper: Sung et al. 2021, Training Neural Networks with Fixed Sparse Masks, arXiv:2111.09839
    Good for: little data, and tasks for which a few weights do: they are chosen for this task instead of blindly.
    Cost: a look at the data before the first step, which needs the memory of one gradient of every target layer.
    Limits: picks the same share in every layer, where the paper picks over the whole model; the mask is found once and stays.
    """

    title: ClassVar[str] = "FISH mask"
    unknown: ClassVar[tuple[str, ...]] = ("albert",)  # all blocks share the same weights
    order: ClassVar[int] = 43

    name: Literal["fish"] = option("fish", "Method", "", hidden=True)
    batches: int = option(
        8,
        "Batches looked at",
        "How many training batches are looked at to pick the weights; some hundred examples are enough.",
        ge=1,
        le=1024,
    )

    def scores(self, model, setting):
        return from_gradients(
            model, target_layers(model, self.targets, setting).values(), looked_at(setting, self.batches), fisher=True
        )

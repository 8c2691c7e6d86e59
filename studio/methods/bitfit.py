"""BitFit: train only the biases."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

# Output heads, and the router of a mixture of experts.
_HEADS = ("lm_head", "embed_out", "score", "classifier", "pre_classifier", "router")


class BitFit(Method):
    """Changes only the biases, the one number that each output of a layer has added to it.

    Equation: h = W₀x + (b₀ + Δb), only Δb is trained, zero at the start
    Paper: Ben Zaken et al. 2022, BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models, arXiv:2106.10199
    Good for: little data, models that have biases (GPT-2, OPT, Qwen2), and very small files.
    Cost: less than a thousandth of the parameters; no extra time in use once merged.
    Limits: most new models have few biases or none; added ones cannot be merged, and stock peft cannot load the adapter.
    """

    title: ClassVar[str] = "BitFit"
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "structured mask"
    order: ClassVar[int] = 40
    artefact_type: ClassVar[str] = "BITFIT"
    learning_rate: ClassVar[float] = 3e-3
    # Their biases are read directly, bypassing the layers, or are in the head only.
    unknown: ClassVar[tuple[str, ...]] = ("mamba", "falcon_mamba", "modernbert")
    stock: ClassVar[bool] = False

    name: Literal["bitfit"] = option("bitfit", "Method", "", hidden=True)
    added: bool = option(
        False, "Add biases", "Also give a bias to every linear layer that has none; the result can then not be merged."
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.tuners import BitFitConfig
        from studio.tuners.bitfit import accepts_bias

        names = {
            name.rsplit(".", 1)[-1] for name, module in model.named_modules() if accepts_bias(module, self.added)
        } - set(_HEADS)
        return get_peft_model(
            model, BitFitConfig(task_type=setting.task_type, target_modules=sorted(names), added=self.added)
        )

    def parameter_count(self, shape: Shape) -> int:
        """All elements of the biases (Ben Zaken 2022, §3), and the outputs of the layers to which biases are added."""
        biases = {
            name.removesuffix(".bias"): math.prod(size)
            for name, size in shape.tensors.items()
            if name.endswith(".bias") and len(size) == 1
        }
        # without the convolution that embeds image patches
        biases = {name: size for name, size in biases.items() if len(shape.tensors.get(f"{name}.weight", ())) <= 2}
        own = {name: size for name, size in biases.items() if name.rsplit(".", 1)[-1] not in _HEADS}
        return sum(own.values()) + (
            sum(size[1] for name, size in shape.linear_layers.items() if name not in own) if self.added else 0
        )

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.experts and self.added:
            return Sentence(
                "Biases cannot be added to a mixture of experts such as {architecture}; switch Add biases off, or "
                "choose LoRA.",
                architecture=shape.architecture,
            )
        if shape is not None and not self.parameter_count(shape):
            return Sentence(
                "{architecture} has no biases to train; switch on Add biases, or choose LoRA.",
                architecture=shape.architecture,
            )
        return super().refusal(shape, task, quantisation)

    def merge_refusal(self):
        if self.added:
            return Sentence(
                "Added biases cannot be merged: the base model has no place for them. Download the adapter instead."
            )
        return super().merge_refusal()

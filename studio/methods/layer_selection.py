"""Layer selection: train the last blocks in full, or chosen modules of them."""

from __future__ import annotations

import math
import re
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.shape import ATTENTION, Shape
from studio.options import option
from studio.words import Sentence

_BLOCK = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")


class LayerSelection(Method):
    """Changes every weight of the last few layers, or of chosen parts of them, and freezes all that comes before.

    Equation: W_l = W_l − η·∇W_l for the layers l > L − k only
    Paper: Lee et al. 2019, What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning, arXiv:1911.03090
    Good for: a task that needs real change on top of features that are there already; a quarter of the layers is often enough.
    Cost: a copy of each chosen layer, and about 16 bytes for each of its weights with AdamW; no backward pass below the first of them.
    Limits: the file is as large as the chosen layers; not on 4- or 8-bit bases; what the lower layers do cannot change.
    """

    title: ClassVar[str] = "Layer selection"
    adapts_mixers: ClassVar[bool] = False
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "structured mask"
    order: ClassVar[int] = 44
    artefact_type: ClassVar[str] = "LN_TUNING"  # peft's trainable copies of whole modules; not limited to norms
    learning_rate: ClassVar[float] = 2e-5

    name: Literal["layer_selection"] = option("layer_selection", "Method", "", hidden=True)
    layers: int = option(2, "Last layers k", "How many layers are trained, counted from the end.", ge=1, le=1024)
    modules: str = option(
        "all",
        "Parts",
        "Which parts of these layers are trained: all, attention, or names like q_proj,down_proj.",
        min_length=1,
        advanced=True,
    )

    def chosen(self, names: list[str]) -> list[str]:
        """The module names, out of `names`, that are trained.

        Modules that contain others are excluded; their own parameters (such as the sinks of GPT-OSS) stay frozen.
        """
        outer = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
        blocks = {name: int(found[1]) for name in names if name not in outer and (found := _BLOCK.search(name))}
        first = max(blocks.values(), default=0) + 1 - self.layers
        wanted = ATTENTION if self.modules == "attention" else tuple(part.strip() for part in self.modules.split(","))
        return [
            name
            for name, block in blocks.items()
            if block >= first and (self.modules == "all" or name.rsplit(".", 1)[-1] in wanted)
        ]

    def wrap(self, model, setting=DEFAULT):
        from peft import LNTuningConfig, get_peft_model

        leaves = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
        return get_peft_model(model, LNTuningConfig(task_type=setting.task_type, target_modules=self.chosen(leaves)))

    def parameter_count(self, shape: Shape) -> int:
        """All parameters of the chosen modules."""
        kept = set(self.chosen([name.rpartition(".")[0] for name in shape.tensors]))
        return sum(math.prod(size) for name, size in shape.tensors.items() if name.rpartition(".")[0] in kept)

    def refusal(self, shape, task, quantisation):
        if shape is not None:
            present = [name.rpartition(".")[0] for name in shape.tensors]
            if self.layers > shape.layers:
                return Sentence(
                    "Last layers k is {count}, but this model has {layers}; use {layers} or less, or full fine-tuning.",
                    count=self.layers,
                    layers=shape.layers,
                )
            if not self.chosen(present):
                parts = sorted({name.rsplit(".", 1)[-1] for name in present if _BLOCK.search(name)})
                return Sentence(
                    "The parts '{parts}' match nothing in the layers of this model; use all, or names such as {some}.",
                    parts=self.modules,
                    some=", ".join(parts[:6]) or "-",
                )
            if self.modules != "all" and any(shape.experts & set(name.split(".")) for name in self.chosen(present)):
                return Sentence(
                    "The parts '{parts}' name layers inside a mixture of experts, which is one part in memory; use "
                    "all, or attention.",
                    parts=self.modules,
                )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} k={self.layers}"

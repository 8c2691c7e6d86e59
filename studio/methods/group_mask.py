"""Structured group mask: train whole matrices or whole blocks, selected by a score."""

from __future__ import annotations

import math
import re
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.model_types import GEMMA4
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

_PLACE = re.compile(r"(.*?\.|)(\d+)\.(.+)")  # "model.layers.3.mlp.down_proj" → "model.layers.", "3", "mlp.down_proj"


class GroupMask(Method):
    """Measures which parts of the model matter most for your data, trains only those, and leaves all others as they are.

    Equation: W_g = W₀_g + ΔW_g for the groups g with the highest score; scores: Fisher Σ(∂L/∂W)², gradient Σ|∂L/∂W|, or size Σ|W₀|
    Paper: groups as in Guo et al. 2021, arXiv:2012.07463; Fisher score as in Sung et al. 2021, arXiv:2111.09839
    Good for: as much change as full fine-tuning can make, in a few places; it also shows which places your data asks for.
    Cost: as full fine-tuning for the chosen part: gradients and two moments for each of its weights; before the first step some batches are looked at.
    Limits: large files, because whole matrices are kept; the base must not be quantised; which groups were picked holds for this data only.
    """

    title: ClassVar[str] = "Structured group mask"
    adapts_mixers: ClassVar[bool] = False
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "structured mask"
    order: ClassVar[int] = 43
    artefact_type: ClassVar[str] = "LN_TUNING"
    learning_rate: ClassVar[float] = 2e-3
    unknown: ClassVar[tuple[str, ...]] = GEMMA4  # blocks of different sizes

    name: Literal["group_mask"] = option("group_mask", "Method", "", hidden=True)
    groups: Literal["matrix", "block"] = option(
        "matrix",
        "Groups",
        "What is picked: of each kind of layer the best ones by themselves, or whole blocks with all that is in them.",
        labels={"matrix": "Single layers of each kind", "block": "Whole blocks"},
    )
    kept: float = option(
        25.0, "Kept groups", "How many of the groups are fine-tuned; at least one of each kind.", unit="%", gt=0, le=100
    )
    score: Literal["fisher", "gradient", "magnitude"] = option(
        "fisher",
        "Score",
        "What makes a group matter: how strongly your data pulls at it (Fisher, gradient), or how large its weights "
        "are.",
        labels={"fisher": "Fisher information", "gradient": "Gradient", "magnitude": "Size of the weights"},
    )
    examples: int = option(
        8,
        "Batches to look at",
        "From how many training batches Fisher and gradient are measured.",
        unit="batches",
        ge=1,
        le=1000,
        advanced=True,
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import LNTuningConfig, get_peft_model

        modules = {
            key: module
            for key, module in model.named_modules()
            if _PLACE.fullmatch(key) and "weight" in module._parameters
        }
        picked = setting.once("group_mask", lambda: self.pick(self._scores(model, modules, setting)))
        return get_peft_model(model, LNTuningConfig(task_type=setting.task_type, target_modules=picked))

    def _scores(self, model, modules: dict, setting) -> dict[str, float]:
        """Layer name → score.

        Without batches (when only the parameters are counted), it is the magnitude of the weights.
        """
        scores = dict.fromkeys(modules, 0.0)
        if self.score == "magnitude" or setting.batches is None:
            return {
                key: sum(parameter.detach().float().abs().sum().item() for parameter in module.parameters())
                for key, module in modules.items()
            }
        for module in modules.values():
            module.requires_grad_(True)
        for batch in setting.batches(self.examples):
            model(**batch).loss.backward()
            for key, module in modules.items():
                for parameter in module.parameters():
                    gradient = parameter.grad.float()
                    scores[key] += (gradient.square() if self.score == "fisher" else gradient.abs()).sum().item()
                    parameter.grad = None
        for module in modules.values():
            module.requires_grad_(False)
        return scores

    def pick(self, scores: dict[str, float]) -> list[str]:
        """Names of the layers to train. scores: layer name → score."""
        if self.groups == "block":
            blocks: dict[str, float] = {}
            for key, score in scores.items():
                blocks[_PLACE.fullmatch(key)[2]] = blocks.get(_PLACE.fullmatch(key)[2], 0.0) + score
            best = set(sorted(blocks, key=lambda block: (-blocks[block], int(block)))[: self._count(len(blocks))])
            return sorted(key for key in scores if _PLACE.fullmatch(key)[2] in best)
        return sorted(
            key
            for names in _kinds(scores).values()
            for key in sorted(names, key=lambda key: (-scores[key], key))[: self._count(len(names))]
        )

    def _count(self, groups: int) -> int:
        return max(1, round(self.kept / 100 * groups))

    def parameter_count(self, shape: Shape) -> int:
        """All parameters of the selected layers (Guo 2021, §3.2: groups are matrices, with their biases).

        Which layers are selected depends on the data; the largest of each kind are counted.
        """
        sizes: dict[str, int] = {}
        for name, size in shape.tensors.items():
            layer, _, last = name.rpartition(".")
            if last in ("weight", "bias") and _PLACE.fullmatch(layer):
                sizes[layer] = sizes.get(layer, 0) + math.prod(size)
        return sum(
            sum(sorted((sizes[key] for key in names), reverse=True)[: self._count(len(names))])
            for names in _kinds(sizes).values()
        )

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.experts:
            return Sentence(
                "A group mask cannot pick among the experts of {architecture}, which are one group in memory; choose "
                "layer selection or LoRA.",
                architecture=shape.architecture,
            )
        if shape is not None and not self.parameter_count(shape):
            return Sentence(
                "{architecture} has no numbered blocks to choose from; choose LoRA.", architecture=shape.architecture
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} {self.kept:g} %"


def _kinds(names) -> dict[str, list[str]]:
    """Group layer names by kind: "model.layers.*.mlp.down_proj" → names of the layers."""
    kinds: dict[str, list[str]] = {}
    for key in names:
        before, _, after = _PLACE.fullmatch(key).groups()
        kinds.setdefault(f"{before}*.{after}", []).append(key)
    return kinds

"""Norm tuning: train only the normalisation layers."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


def _is_norm(name: str) -> bool:
    last = name.rsplit(".", 1)[-1].lower()
    return "norm" in last or last.startswith("ln_")


class NormTuning(Method):
    """Changes only the norms, the dials that set how loud each channel is between the layers.

    Equation: y = γ ⊙ (x − μ)/σ + β, only γ and β are trained; RMS norms have neither μ nor β
    Paper: Zhao et al. 2023, Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning, arXiv:2312.11420
    Good for: a change of manner at next to no cost; a yardstick for how much a task really needs.
    Cost: some ten thousand parameters for a model of a billion; nothing in use once merged.
    Limits: learns little: 0 % on arithmetic in PEFT's own comparison, where LoRA had 48 %; wants a high learning rate.
    """

    title: ClassVar[str] = "Norm tuning"
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "structured mask"
    order: ClassVar[int] = 41
    artefact_type: ClassVar[str] = "LN_TUNING"
    learning_rate: ClassVar[float] = 3e-3
    unknown: ClassVar[tuple[str, ...]] = ("modernbert",)  # a block without a first norm

    name: Literal["ln_tuning"] = option("ln_tuning", "Method", "", hidden=True)

    def wrap(self, model, setting=DEFAULT):
        from peft import LNTuningConfig, get_peft_model

        norms = {name: bool(module._parameters) for name, module in model.named_modules() if _is_norm(name)}
        # Norms without weights may have the same last name component as others, which are then given by full name.
        empty = {name.rsplit(".", 1)[-1] for name, filled in norms.items() if not filled}
        names = {
            name if (last := name.rsplit(".", 1)[-1]) in empty else last for name, filled in norms.items() if filled
        }
        return get_peft_model(model, LNTuningConfig(task_type=setting.task_type, target_modules=sorted(names)))

    def parameter_count(self, shape: Shape) -> int:
        """All parameters of all norms (Zhao 2023, §3)."""
        return sum(math.prod(size) for name, size in shape.tensors.items() if _is_norm(name.rpartition(".")[0]))

    def refusal(self, shape, task, quantisation):
        if shape is not None and not self.parameter_count(shape):
            return Sentence(
                "Norm tuning finds no norms with weights in {architecture}; choose LoRA.",
                architecture=shape.architecture,
            )
        return super().refusal(shape, task, quantisation)

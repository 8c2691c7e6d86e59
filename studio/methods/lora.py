"""LoRA, the base class of many other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.methods import capabilities
from studio.methods.base import Setting
from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class LoRA(Targeted):
    """Leaves every weight as it is and learns two thin matrices beside it, whose product is added to its output.

    Equation: h = W₀x + (α/r)·B·A·x, with A Gaussian and B zero at the start
    Paper: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685
    Good for: almost everything; the first method to try, and the one that every server can load.
    Cost: about 1 % of the parameters at rank 16; no extra time in use once merged.
    Limits: a low rank cannot hold a large body of new knowledge; raise the rank or use full fine-tuning for that.
    """

    title: ClassVar[str] = "LoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 10
    artefact_type: ClassVar[str] = "LORA"
    transposed: ClassVar[bool] = True

    name: Literal["lora"] = option("lora", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank r",
        "Width of the two matrices. More learns more and costs more memory; 8 or 16 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        16,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r. Twice the rank is usual.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )
    dropout: float = option(
        0.0,
        "Dropout",
        "Share of the delta's inputs switched off at random while learning; 0.05–0.1 helps with little data.",
        ge=0,
        lt=1,
        search=SearchRange(0, 0.2),
    )
    rslora: bool = option(
        False,
        "Rank-stabilised scaling",
        "Scale by α/√r instead of α/r (rsLoRA), better at ranks above 32.",
        advanced=True,
    )

    def config(self, setting: Setting, **more) -> Any:
        """peft's `LoraConfig` for these options. more: further arguments of it."""
        from peft import LoraConfig

        return LoraConfig(
            **self.placed(setting),
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            **more,
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the target layers (Hu 2021, §4.2)."""
        return sum(self.rank * (rows + columns) for rows, columns in self.sizes(shape))

    def unsupported_reason(self, what):
        if what == "blend" and self.rslora:  # add_weighted_adapter: logits off by 0.3 at weights [1, 0]
            return capabilities.unsupported_sentence(self.title, what, "differs")
        return super().unsupported_reason(what)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"


def write_lora(config: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Write a stock peft adapter to `folder`. tensors: named as in the result of `get_peft_model_state_dict`."""
    from safetensors.torch import save_file

    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config.save_pretrained(folder)

"""RandLoRA: a full-rank sum of frozen random low-rank products with trainable diagonal scales."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class RandLoRA(Targeted):
    """Adds up many frozen random matrices until the change has full rank, and learns only how strongly each of them counts.

    Equation: ΔW = Σ_j B_j·Λ_j·A_j·Γ_j; A and B random and frozen, the diagonals Λ and Γ trained
    Paper: Albert et al. 2025, RandLoRA: Full-rank Parameter-efficient Fine-tuning of Large Models, arXiv:2502.00987
    Good for: tasks where raising LoRA's rank keeps helping: the change has full rank at LoRA's number of trainable parameters.
    Cost: a smaller rank means more parameters; the whole ΔW is built at each step, and the file also holds the random matrices.
    Limits: slower than LoRA; large α is touchy: lower the learning rate if the loss jumps.
    """

    title: ClassVar[str] = "RandLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 59
    artefact_type: ClassVar[str] = "RANDLORA"
    transposed: ClassVar[bool] = True

    name: Literal["randlora"] = option("randlora", "Method", "", hidden=True)
    rank: int = option(
        32,
        "Rank r",
        "Width of each random matrix. Here less learns more: there are more matrices then.",
        ge=1,
        le=1024,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        640,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r. Twenty times the rank is usual.",
        gt=0,
        le=65_536,
        search=SearchRange(factor=4, log=True),
    )

    def config(self, setting):
        from peft import RandLoraConfig

        return RandLoraConfig(**self.placed(setting), r=self.rank, randlora_alpha=self.alpha)

    def save(self, model, folder):
        """Save the shared random matrices only once; peft would save a copy for every layer."""
        again = (".randlora_A.default", ".randlora_B.default")
        kept = {
            name: tensor
            for name, tensor in model.state_dict().items()
            if not name.endswith(again) or name.startswith("base_model.randlora_")
        }
        model.save_pretrained(folder, state_dict=kept)

    def parameter_count(self, shape: Shape) -> int:
        """Σ n·(r + d) over the target layers, with d the smaller width and n = ⌈d/r⌉ summands (Albert 2025, §3.2)."""
        return sum(-(-min(size) // self.rank) * (self.rank + min(size)) for size in self.sizes(shape))

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

"""OFT: a block-diagonal orthogonal transform of the inputs of each layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class OFT(Targeted):
    """Turns the inputs of each layer by a trainable rotation, which leaves all lengths and angles as they were.

    Equation: h = W₀·R·x, R = diag(R₁ … R_k) with R_i = (I + Q_i)(I − Q_i)⁻¹ and Q_i skew-symmetric, zero at the start
    Paper: Qiu et al. 2023, Controlling Text-to-Image Diffusion by Orthogonal Finetuning, arXiv:2306.07280; in this form: Qiu et al. 2025, arXiv:2506.19847
    Good for: keeping what the model knows while changing its manner; steady training.
    Cost: b·(b − 1)/2 parameters for each block of b inputs; slower than LoRA, since a rotation is built at each step.
    Limits: cannot make a signal louder or softer, only mix channels of a block; the block size must divide the width of each layer.
    """

    title: ClassVar[str] = "OFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 52
    artefact_type: ClassVar[str] = "OFT"

    name: Literal["oft"] = option("oft", "Method", "", hidden=True)
    block: int = option(
        32,
        "Block size b",
        "How many channels are mixed with one another. More learns more and costs more memory and time.",
        ge=2,
        le=1024,
    )
    shared: bool = option(
        False,
        "One rotation for all blocks",
        "Use the same rotation for every block of a layer: far fewer parameters.",
        advanced=True,
    )
    exact: bool = option(
        False,
        "Exact rotation",
        "Invert a matrix at each step instead of adding up five terms of a series: exact, but slower.",
        advanced=True,
    )

    def config(self, setting):
        from peft import OFTConfig

        return OFTConfig(
            **self.placed(setting),
            oft_block_size=self.block,
            block_share=self.shared,
            use_cayley_neumann=not self.exact,
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ blocks·b·(b − 1)/2 over the target layers, with blocks = input/b, or 1 if shared (Qiu 2023, §3.3)."""
        each = self.block * (self.block - 1) // 2
        return sum((1 if self.shared else inputs // self.block) * each for inputs, _ in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "block", outputs=False)

    def summary(self) -> str:
        return f"{self.title} b={self.block}"

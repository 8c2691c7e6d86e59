"""C³A: a delta of block-circulant matrices (circular convolutions)."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class C3A(Targeted):
    """Learns a short pattern for each block of a weight and lets it run round in a circle to fill the block.

    Equation: ΔW in blocks of b × b, each the circulant matrix of a trainable vector of b parameters, zero at the start
    Paper: Chen et al. 2024, Parameter-Efficient Fine-Tuning via Circular Convolution, arXiv:2407.19342
    Good for: a change of high rank for few parameters, worked out by fast Fourier transforms.
    Cost: input·output/b parameters a layer: a larger block is cheaper; the transforms run in fp32.
    Limits: the block size must divide every width; not on 4- or 8-bit bases; wants a high learning rate.
    """

    title: ClassVar[str] = "C³A"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 60
    artefact_type: ClassVar[str] = "C3A"
    learning_rate: ClassVar[float] = 5e-2

    name: Literal["c3a"] = option("c3a", "Method", "", hidden=True)
    block: int = option(
        128,
        "Block size b",
        "Side of the blocks; it must divide the width of every layer. A larger block learns fewer parameters.",
        ge=1,
        le=8192,
    )

    def config(self, setting):
        from peft import C3AConfig

        return C3AConfig(**self.placed(setting), block_size=self.block, init_weights=True)

    def parameter_count(self, shape: Shape) -> int:
        """Σ input·output/b over the target layers (Chen 2024, §3.4)."""
        return sum(inputs * outputs // self.block for inputs, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "block")

    def summary(self) -> str:
        return f"{self.title} b={self.block}"

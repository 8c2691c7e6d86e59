"""BOFT: butterfly orthogonal transforms of the inputs and a scale for each output."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option


class BOFT(Targeted):
    """Turns the inputs of each layer by small trainable rotations and learns how loud each output is.

    Equation: h = s ⊙ (W₀·R·x), R of orthogonal blocks with one butterfly factor (m = 1), s = 1 at the start
    Paper: Liu et al. 2023, Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization, arXiv:2311.06243
    Good for: the steadiness of OFT with a gain for each output, in small files.
    Cost: b parameters for each input and one for each output; peft keeps a square table beside each layer, together as large as the base in fp32.
    Limits: only one butterfly factor, for more need a CUDA compiler at run time and give files that load nowhere else; slow on big models.
    """

    title: ClassVar[str] = "BOFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 53
    artefact_type: ClassVar[str] = "BOFT"

    name: Literal["boft"] = option("boft", "Method", "", hidden=True)
    block: int = option(
        4,
        "Block size b",
        "How many channels are mixed with one another. More learns more and costs more memory and time.",
        ge=2,
        le=256,
    )

    def config(self, setting):
        from peft import BOFTConfig

        return BOFTConfig(**self.placed(setting), boft_block_size=self.block, boft_n_butterfly_factor=1)

    def parameter_count(self, shape: Shape) -> int:
        """Σ input·b + output over the target layers: input/b blocks of b × b (m = 1 factor), and s (Liu 2023, §4)."""
        return sum(inputs * self.block + outputs for inputs, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "block", outputs=False)

    def summary(self) -> str:
        return f"{self.title} b={self.block}"

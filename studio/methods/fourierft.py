"""FourierFT: a delta given by sparse trainable Fourier coefficients."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


class FourierFT(Targeted):
    """Sees the change of each weight as a picture and learns only the strength of some of its waves.

    Equation: ΔW = α·Re(IDFT₂(S)), S holds n trainable parameters at fixed random places, zero at the start
    Paper: Gao et al. 2024, Parameter-Efficient Fine-Tuning with Discrete Fourier Transform, arXiv:2405.03003
    Good for: tiny files: a thousand parameters a layer, whatever its size.
    Cost: n parameters a layer; the whole ΔW is built by a Fourier transform at each step, so it is slower than LoRA.
    Limits: wants a very high learning rate; the waves are chosen blindly, so it learns less than LoRA on hard tasks.
    """

    title: ClassVar[str] = "FourierFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 54
    artefact_type: ClassVar[str] = "FOURIERFT"
    transposed: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-2

    name: Literal["fourierft"] = option("fourierft", "Method", "", hidden=True)
    frequencies: int = option(
        1000,
        "Frequencies n",
        "How many waves are trained in each layer. More learns more; the time stays the same.",
        ge=1,
        le=1_000_000,
    )
    scale: float = option(
        150.0,
        "Scale α",
        "Strength of the waves. With a larger one a smaller learning rate does.",
        gt=0,
        le=10_000,
        advanced=True,
    )

    def config(self, setting):
        from peft import FourierFTConfig

        return FourierFTConfig(
            **self.placed(setting), n_frequency=self.frequencies, scaling=self.scale, init_weights=True
        )

    def parameter_count(self, shape: Shape) -> int:
        """n coefficients for each target layer (Gao 2024, §3.2)."""
        return self.frequencies * len(self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return super().refusal(shape, task, quantisation) or self.count_refusal(
            shape, self.frequencies, Sentence("frequencies")
        )

    def summary(self) -> str:
        return f"{self.title} n={self.frequencies}"

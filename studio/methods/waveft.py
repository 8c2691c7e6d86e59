"""WaveFT: a delta given by sparse trainable wavelet coefficients."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


class WaveFT(Targeted):
    """Sees the change of each weight as a picture and learns only the strength of some small local ripples in it.

    Equation: ΔW = λ·IDWT(S), S holds n trainable parameters at fixed random places, zero at the start
    Paper: Bilican et al. 2025, Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets, arXiv:2505.12532
    Good for: tiny files, with the number of trainable parameters chosen to the last one.
    Cost: n parameters a layer; the whole ΔW is built by a wavelet transform at each step, so it is slower than LoRA.
    Limits: wants a high learning rate; young, and tried mostly on image models.
    """

    title: ClassVar[str] = "WaveFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 55
    artefact_type: ClassVar[str] = "WAVEFT"
    transposed: ClassVar[bool] = True

    name: Literal["waveft"] = option("waveft", "Method", "", hidden=True)
    coefficients: int = option(
        2592,
        "Coefficients n",
        "How many ripples are trained in each layer. More learns more; the time stays the same.",
        ge=1,
        le=1_000_000,
    )
    scale: float = option(
        25.0,
        "Scale λ",
        "Strength of the ripples. With a larger one a smaller learning rate does.",
        gt=0,
        le=10_000,
        advanced=True,
    )
    wavelet: Literal["db1", "db2", "sym4", "coif1"] = option(
        "db1",
        "Wavelet",
        "Form of a ripple: the shortest is the fastest, longer ones are smoother.",
        advanced=True,
        labels={"db1": "Haar (db1)", "db2": "Daubechies (db2)", "sym4": "Symlet (sym4)", "coif1": "Coiflet (coif1)"},
    )

    def config(self, setting):
        from peft import WaveFTConfig

        return WaveFTConfig(
            **self.placed(setting), n_frequency=self.coefficients, scaling=self.scale, wavelet_family=self.wavelet
        )

    def parameter_count(self, shape: Shape) -> int:
        """n coefficients for each target layer (Bilican 2025, §3)."""
        return self.coefficients * len(self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        return super().refusal(shape, task, quantisation) or self.count_refusal(
            shape, self.coefficients, Sentence("coefficients")
        )

    def summary(self) -> str:
        return f"{self.title} n={self.coefficients}"

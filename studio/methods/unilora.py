"""Uni-LoRA: all LoRA matrices projected from one trainable vector."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence


class UniLoRA(Targeted):
    """Fills the matrices of all LoRAs from one single trainable vector, each place with a number of it that was drawn once and then stays.

    Equation: all entries of all A and B, laid in one row, = P·θ, where each row of the fixed P picks one number of θ; only θ is trained
    Paper: Li et al. 2025, Uni-LoRA: One Vector Is All You Need, arXiv:2506.00799
    Good for: adapters of a few kilobytes, when the places are not stored but drawn again from their seed.
    Cost: as many parameters as you say, in the whole model; as much time as a LoRA of the same rank.
    Limits: does not start exactly as the base model; wants a high learning rate. On 4- and 8-bit bases it would not learn, without an error.
    """

    title: ClassVar[str] = "Uni-LoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 57
    artefact_type: ClassVar[str] = "UNILORA"
    learning_rate: ClassVar[float] = 5e-3

    name: Literal["unilora"] = option("unilora", "Method", "", hidden=True)
    length: int = option(
        4096,
        "Length of the vector",
        "How many parameters are trained in the whole model. More learns more.",
        ge=1,
        le=10_000_000,
    )
    rank: int = option(
        4,
        "Rank r",
        "Width of the matrices that are filled; 4 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    start: float = option(
        0.02,
        "Start",
        "The parameters start between −this and +this. At 0 nothing would ever move.",
        gt=0,
        le=1,
        advanced=True,
    )
    indices: bool = option(
        True,
        "Store the places",
        "Store which number stands where: a larger file, that no later version of PEFT can read otherwise.",
        advanced=True,
    )

    def config(self, setting):
        from peft import UniLoraConfig

        return UniLoraConfig(
            **self.placed(setting),
            r=self.rank,
            theta_d_length=self.length,
            init_theta_d_bound=self.start,
            proj_seed=setting.seed,
            save_indices=self.indices,
        )

    def parameter_count(self, shape: Shape) -> int:
        """The length of θ (Li 2025, §3)."""
        return self.length

    def refusal(self, shape, task, quantisation):
        places = sum(self.rank * (inputs + outputs) for inputs, outputs in self.sizes(shape)) if shape else self.length
        if places and self.length > places:
            return Sentence(
                "A vector of {length} is longer than the {places} places that it fills; shorten it or raise the rank.",
                length=self.length,
                places=places,
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} {self.length}"

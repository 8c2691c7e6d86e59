"""VB-LoRA: LoRA matrices composed of vectors from a bank shared by all layers."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence


class VBLoRA(Targeted):
    """Builds the matrices of all LoRAs out of one shared bank of short vectors, and learns the bank and which vectors stand where.

    Equation: each piece of A and B = Σ softmax(top-k(σ))·bank; the bank and the choices σ are trained
    Paper: Li et al. 2024, VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks, arXiv:2405.15179
    Good for: the smallest files among LoRA's kin when only the chosen vectors are stored.
    Cost: while learning more parameters than a LoRA of the same rank, because every choice is trained; the file is small.
    Limits: does not start exactly as the base model; wants a high learning rate for the bank; a compact file cannot be fine-tuned further.
    """

    title: ClassVar[str] = "VB-LoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 56
    artefact_type: ClassVar[str] = "VBLORA"
    transposed: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 2e-3

    name: Literal["vblora"] = option("vblora", "Method", "", hidden=True)
    rank: int = option(
        4,
        "Rank r",
        "Width of the two matrices that are built. More learns more and costs more memory; 4 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    vectors: int = option(
        64,
        "Vectors in the bank",
        "How many vectors all layers share. The paper has 256 for big models; each costs trainable choices in every "
        "layer.",
        ge=2,
        le=65_536,
    )
    length: int = option(
        64, "Vector length b", "Length of each vector; it must divide the width of every layer.", ge=1, le=4096
    )
    mixed: int = option(
        2,
        "Vectors mixed at each place k",
        "How many vectors are mixed at each place; 2 is usual.",
        ge=1,
        le=64,
        advanced=True,
    )
    compact: bool = option(
        True,
        "Compact file",
        "Store only the chosen vectors' weights: a far smaller adapter, that cannot be fine-tuned further.",
        advanced=True,
    )

    def config(self, setting):
        from peft import VBLoRAConfig

        return VBLoRAConfig(
            **self.placed(setting),
            r=self.rank,
            num_vectors=self.vectors,
            vector_length=self.length,
            topk=self.mixed,
            save_only_topk_weights=self.compact,
        )

    def parameter_count(self, shape: Shape) -> int:
        """h·b for the bank of h vectors of length b, and h logits for each sub-vector (Li 2024, §3.3).

        A target layer has r·(input + output)/b sub-vectors.
        """
        places = sum(
            self.rank * (inputs // self.length + outputs // self.length) for inputs, outputs in self.sizes(shape)
        )
        return self.vectors * (self.length + places)

    def refusal(self, shape, task, quantisation):
        if self.mixed > self.vectors:
            return Sentence(
                "VB-LoRA cannot mix {mixed} vectors out of a bank of {vectors}; raise the bank or mix fewer.",
                mixed=self.mixed,
                vectors=self.vectors,
            )
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "length")

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

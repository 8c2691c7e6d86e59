"""Lily: low-rank experts that all layers share."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.targets import Targeted, target_layers
from studio.models.shape import Shape
from studio.options import option


class Lily(Targeted):
    """Lets layers of the same kind share a few second matrices, and learns at each token which of them to mix.

    Equation: h = W₀x + s·(Σ_i w_i·B_i)·A·x, w = softmax(R·A·x); A for each layer, the B_i shared by all of them and zero at the start
    Paper: Lily: Low-Rank Interconnected Adaptation across Layers, 2024, arXiv:2407.09946
    Good for: high ranks for few numbers, because the larger half of them is shared.
    Cost: r·input numbers a layer, and the shared experts; the mixing takes time at every token, also in use.
    Limits: cannot be merged, since the mix is another one for every token; few servers can load it.
    """

    title: ClassVar[str] = "Lily"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 67
    ships_as: ClassVar[str] = "LILY"

    name: Literal["lily"] = option("lily", "Method", "", hidden=True)
    rank: int = option(16, "Rank r", "Width of the matrices. More learns more and costs more memory; 16 or 32 is usual.", ge=1, le=512)
    experts: int = option(4, "Shared experts", "How many second matrices the layers of one kind share and mix.", ge=2, le=64)
    stride: int = option(1, "Layers with one first matrix", "How many neighbouring layers share their first matrix; 1 gives each layer its own.", ge=1, le=64, advanced=True)
    scale: float = option(1.0, "Scale s", "Strength of the delta.", gt=0, le=1000, advanced=True)

    def config(self, setting):
        from peft import LilyConfig

        return LilyConfig(**self.placed(setting), r=self.rank, num_B=self.experts, stride_A=self.stride, scaling=self.scale)

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        config = self.config(setting)
        # peft shares among layers of the same entry; in small models its "all-linear" is one entry for each layer, and nothing would be shared.
        config.target_modules = {name.rsplit(".", 1)[-1] for name in target_layers(model, self.targets)}
        return get_peft_model(model, config)

    def parameter_count(self, shape: Shape) -> int:
        """For each kind of layer: r·input for every `stride` layers, r·output for each expert, and r·experts weights of the mixer in every layer."""
        kinds: dict[str, list[tuple[int, int]]] = {}
        for name, size in shape.targets(self.targets).items():
            kinds.setdefault(name.rsplit(".", 1)[-1], []).append(size)
        return sum(self.rank * (-(-len(same) // self.stride) * same[0][0] + self.experts * same[0][1] + len(same) * self.experts) for same in kinds.values())

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"

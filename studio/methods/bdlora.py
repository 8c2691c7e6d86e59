"""BD-LoRA: LoRA with one block-diagonal matrix, for serving with tensor parallelism."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import LoRA
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

# Tensor parallelism shards these layers by output, so their B is block-diagonal; those below by input, so their A is.
BY_OUTPUT = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj", "fc1")
BY_INPUT = ("o_proj", "out_proj", "down_proj", "fc2")


class BDLoRA(LoRA):
    """A LoRA one of whose two matrices consists of separate blocks, so that several GPUs can serve it without talking to each other.

    Equation: h = W₀x + (α/r)·B·A·x, with B block-diagonal in layers that are split by their outputs, A in those split by their inputs
    Paper: Wang et al. 2025, Block-Diagonal LoRA for Eliminating Communication Overhead in Tensor Parallel LoRA Serving, arXiv:2510.23346
    Good for: adapters that will be served by vLLM on several GPUs: up to 1.79 times faster there in the paper.
    Cost: fewer parameters than a LoRA of the same rank; at an equal number of them about as good.
    Limits: of no use on one GPU; the number of blocks must be that of the GPUs, and few servers know the form, so merge it for the others.
    """

    title: ClassVar[str] = "BD-LoRA"
    order: ClassVar[int] = 19
    transposed: ClassVar[bool] = False

    name: Literal["bdlora"] = option("bdlora", "Method", "", hidden=True)
    blocks: int = option(
        2, "Blocks", "Into how many blocks a matrix is cut: as many as there are GPUs to serve it.", ge=2, le=64
    )

    def config(self, setting, **more):
        from peft import BdLoraConfig

        return super().config(
            setting,
            use_bdlora=BdLoraConfig(
                target_modules_bd_a=list(BY_INPUT),
                target_modules_bd_b=list(BY_OUTPUT),
                nblocks=self.blocks,
                match_strict=False,
            ),
            **more,
        )

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the layers, the block-diagonal side divided by `blocks` (Wang 2025, §3)."""
        total = 0
        for name, (inputs, outputs) in shape.targets(self.targets).items():
            last = name.rsplit(".", 1)[-1]
            total += self.rank * (
                inputs // (self.blocks if last in BY_INPUT else 1)
                + outputs // (self.blocks if last in BY_OUTPUT else 1)
            )
        return total

    def refusal(self, shape, task, quantisation):
        if self.rank % self.blocks:
            return Sentence(
                "{blocks} blocks do not divide the rank {rank}; use a rank of {fitting}.",
                blocks=self.blocks,
                rank=self.rank,
                fitting=-(-self.rank // self.blocks) * self.blocks,
            )
        return super().refusal(shape, task, quantisation) or self.divisibility_refusal(shape, "blocks")

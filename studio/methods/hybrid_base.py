"""Base class of the hybrid methods: which part is added to which layer, the parameter counts, and the messages.

Does not import torch at module level.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from studio.methods.adapter import _MLP_INPUT, _MLP_OUTPUT, _is
from studio.methods.base import DEFAULT, Method, no_target
from studio.methods.prefix_tuning import KEYS, no_prefix
from studio.models.shape import Shape, target_names
from studio.options import SearchRange, option
from studio.words import Sentence

Linears = dict[str, tuple[int, int]]  # layer name → (input, output) features
_BLOCK = re.compile(r"(?:.*?\.|)(\d+)\..+")


class Hybrid(Method):
    """Base class of the methods that combine parts.

    `mixes` lists for each block which of "adapter", "parallel", "prefix", "lora" and "bias" it gets.
    """

    family: ClassVar[str] = "hybrid"
    artefact_type: ClassVar[str] = "HYBRID"
    learning_rate: ClassVar[float] = 5e-3
    stock: ClassVar[bool] = False
    gates: ClassVar[bool] = False  # whether each part's output is scaled by a trainable gate
    adapts_mixers: ClassVar[bool] = False

    targets: str = option(
        "attention",
        "LoRA's target modules",
        "Which layers get a LoRA where this mix has one: all-linear, attention, or names like q_proj,v_proj.",
        min_length=1,
        advanced=True,
    )
    activation: Literal["relu", "gelu", "silu"] = option(
        "relu",
        "Activation f",
        "The bend between the two layers of each network.",
        advanced=True,
        labels={"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"},
    )
    size: int = option(
        16,
        "Bottleneck size m",
        "Width of each network. More learns more and costs more memory; 16 to 64 is usual.",
        ge=1,
        le=4096,
    )
    scale: float = option(
        1.0,
        "Scale s",
        "Strength of the networks' output; up to 4 was used for parallel ones.",
        gt=0,
        le=64,
        advanced=True,
    )
    virtual_tokens: int = option(
        10,
        "Prefix length p",
        "How many trainable keys and values each layer can attend to.",
        unit="tokens",
        ge=1,
        le=512,
    )
    rank: int = option(
        8,
        "Rank r",
        "Width of the two matrices. More learns more and costs more memory; 8 or 16 is usual.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    alpha: float = option(
        16,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r. Twice the rank is usual.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )

    def mixes(self, blocks: int) -> list[set[str]]:
        """The parts of each block, first block first."""
        raise TypeError(f"{type(self).__name__} does not say what it mixes")

    def plan(self, linear_layers: Linears, biased: set[str]) -> dict[str, list[str]]:
        """Layer name → its parts, for `studio.tuners.HybridConfig`. biased: names of the layers that have a bias."""
        blocks = {name: int(found[1]) for name in linear_layers if (found := _BLOCK.fullmatch(name))}
        mixes = self.mixes(1 + max(blocks.values(), default=-1))
        names = target_names(self.targets)
        plan: dict[str, list[str]] = {}
        for name, block in blocks.items():
            last, mix = name.rsplit(".", 1)[-1], mixes[block]
            parts = {
                "tap": "parallel" in mix and _is(name, _MLP_INPUT),
                "adapter": "adapter" in mix and _is(name, _MLP_OUTPUT),
                "parallel": "parallel" in mix and _is(name, _MLP_OUTPUT),
                "prefix": "prefix" in mix and last in KEYS,
                "lora": "lora" in mix and (names is None or last in names),
                # `added` is an option of the hybrids that can add biases to layers without one
                "bias": "bias" in mix and (name in biased or getattr(self, "added", False)),
            }
            if any(parts.values()):
                plan[name] = [part for part, there in parts.items() if there]
        return plan

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        from studio.tuners import HybridConfig

        layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and _BLOCK.fullmatch(name)
        }
        sizes = {name: (1, 1) for name in layers}  # `plan` reads the names only
        plan = self.plan(sizes, {name for name, module in layers.items() if module.bias is not None})
        return get_peft_model(
            model,
            HybridConfig(
                task_type=setting.task_type,
                target_modules=list(plan),
                parts=plan,
                size=self.size,
                scale=self.scale,
                activation=self.activation,
                num_virtual_tokens=self.virtual_tokens,
                r=self.rank,
                alpha=self.alpha,
                gated=self.gates,
            ),
        )

    def _plan_of(self, shape: Shape) -> dict[str, list[str]]:
        return self.plan(
            shape.linear_layers, {name.removesuffix(".bias") for name in shape.tensors if name.endswith(".bias")}
        )

    def parameter_count(self, shape: Shape) -> int:
        """Number of trainable parameters, with bottleneck m, width d, prefix length p and rank r.

        Adapter 2md + d + m, prefix 2p·(key heads × head size), LoRA r(input + output), bias output, gate input + 1.
        """
        count = 0
        for name, parts in self._plan_of(shape).items():
            rows, columns = shape.linear_layers[name]
            gate = {"lora": rows + 1, "prefix": rows + 1, "adapter": columns + 1, "parallel": columns + 1}
            sizes = {
                "lora": self.rank * (rows + columns),
                "prefix": 2 * self.virtual_tokens * shape.key_value_heads * shape.head_dim,
                "bias": columns,
            }
            for part in set(parts) - {"tap"}:
                count += sizes.get(part, 2 * self.size * columns + columns + self.size) + (
                    gate.get(part, 0) if self.gates else 0
                )
        return count

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.experts:
            return Sentence(
                "Hybrids do not know the layer names of {architecture}; choose LoRA.", architecture=shape.architecture
            )
        if shape is not None:
            mixes, plan = self.mixes(shape.layers), list(self._plan_of(shape).values())
            wanted = set().union(*mixes)
            if not wanted:
                return Sentence("This mix has no part; switch on at least one of adapter, prefix, LoRA and biases.")
            if "prefix" in wanted and (text := no_prefix(shape)):
                return text
            if "bias" in wanted and not any("bias" in parts for parts in plan):
                return Sentence(
                    "{architecture} has no biases to train; switch on Add biases, or take the biases out of the mix.",
                    architecture=shape.architecture,
                )
            for part in ("adapter", "parallel", "prefix"):
                if sum(part in parts for parts in plan) != sum(part in mix for mix in mixes):
                    return Sentence(
                        "Hybrids do not know the layer names of {architecture}; choose LoRA.",
                        architecture=shape.architecture,
                    )
            if "lora" in wanted and not any("lora" in parts for parts in plan):
                return no_target(shape, self.targets)
        return super().refusal(shape, task, quantisation)

    def merge_refusal(self):
        if self.merges():
            return None
        return Sentence(
            "{method} cannot be merged: adapters are not linear, prefixes are something to attend to, gates change "
            "with each token, and added biases have no place in the base. "
            "Only LoRA and biases that are there can be merged. Download the adapter instead.",
            method=Sentence(self.title),
        )

    def merges(self) -> bool:
        """Whether all parts can be merged into the base model's weights."""
        return False

    def summary(self) -> str:
        return f"{self.title} {self._sizes()}"

    def _sizes(self) -> str:
        """The sizes of the parts in use, such as "m=16 p=10 r=8"."""
        mix: set[Any] = set().union(*self.mixes(12))
        message = [
            (f"m={self.size}", {"adapter", "parallel"}),
            (f"p={self.virtual_tokens}", {"prefix"}),
            (f"r={self.rank}", {"lora"}),
            ("b", {"bias"}),
        ]
        return " ".join(text for text, parts in message if parts & mix)

"""Bottleneck adapters: small two-layer networks in each transformer block."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

_ATTENTION_OUTPUT = ("o_proj", "out_proj", "attn.c_proj", "attention.dense")
_MLP_INPUT = ("gate_proj", "gate_up_proj", "fc1", "mlp.c_fc", "dense_h_to_4h")
_MLP_OUTPUT = ("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h")


def _is(name: str, known: tuple[str, ...]) -> bool:
    """Whether the layer `name` ends with one of the `known` suffixes, at a component boundary."""
    return any(name == each or name.endswith(f".{each}") for each in known)


class Adapter(Method):
    """Puts a small two-layer network into each block and trains only that; at the start it does nothing.

    Equation: h ← h + s·W_up f(W_down h), with W_up zero at the start
    Paper: Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2020, arXiv:2005.00052; parallel: He et al. 2022, arXiv:2110.04366
    Good for: tasks that need more than a low-rank change, because the little network is not linear.
    Cost: a few per cent of the parameters, and a little time at each token, also in use.
    Limits: cannot be merged; stock peft and other servers cannot load it, Delta Studio must be there.
    """

    title: ClassVar[str] = "Bottleneck adapter"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "adapter"
    order: ClassVar[int] = 28
    artefact_type: ClassVar[str] = "BOTTLENECK"
    learning_rate: ClassVar[float] = 5e-4
    unknown: ClassVar[tuple[str, ...]] = ("distilbert",)
    stock: ClassVar[bool] = False

    name: Literal["adapter"] = option("adapter", "Method", "", hidden=True)
    place: Literal["houlsby", "pfeiffer", "parallel"] = option(
        "pfeiffer",
        "Place",
        "Where the networks stand: after attention and MLP learns more, after the MLP alone costs half.",
        labels={
            "houlsby": "After attention and MLP (Houlsby)",
            "pfeiffer": "After the MLP (Pfeiffer)",
            "parallel": "Beside the MLP (parallel)",
        },
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
    activation: Literal["relu", "gelu", "silu"] = option(
        "relu",
        "Activation f",
        "The bend between the two layers of each network.",
        advanced=True,
        labels={"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"},
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.tuners import BottleneckConfig

        present = [name for name, _ in model.named_modules()]
        outputs = [known for known in self._outputs() if any(_is(name, (known,)) for name in present)]
        inputs = [
            known for known in _MLP_INPUT if self.place == "parallel" and any(_is(name, (known,)) for name in present)
        ]
        return get_peft_model(
            model,
            BottleneckConfig(
                task_type=setting.task_type,
                target_modules=[*inputs, *outputs],
                input_modules=inputs or None,
                size=self.size,
                scale=self.scale,
                activation=self.activation,
            ),
        )

    def _outputs(self) -> tuple[str, ...]:
        return (*_ATTENTION_OUTPUT, *_MLP_OUTPUT) if self.place == "houlsby" else _MLP_OUTPUT

    def parameter_count(self, shape: Shape) -> int:
        """2·m·d + d + m for each adapter of bottleneck m and width d (Houlsby 2019, §2.1)."""
        places = sum(_is(name, self._outputs()) for name in shape.linear_layers)
        return places * (2 * self.size * shape.hidden + shape.hidden + self.size)

    def refusal(self, shape, task, quantisation):
        if shape is not None:
            needed = [
                _MLP_OUTPUT,
                *([_ATTENTION_OUTPUT] if self.place == "houlsby" else []),
                *([_MLP_INPUT] if self.place == "parallel" else []),
            ]
            if any(sum(_is(name, known) for name in shape.linear_layers) != shape.layers for known in needed):
                return Sentence(
                    "Adapters do not know the layer names of {architecture}; choose LoRA.",
                    architecture=shape.architecture,
                )
        return super().refusal(shape, task, quantisation)

    def merge_refusal(self):
        return Sentence(
            "{method} cannot be merged: it is not linear, so no weight can hold it. Download the adapter instead.",
            method=Sentence(self.title),
        )

    def summary(self) -> str:
        return f"{self.title} m={self.size}"

"""Base class of the methods that add a delta to chosen linear layers: the option, peft's `target_modules`, size checks.

Independent of the form of the delta.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

from studio.methods.base import DEFAULT, Method, Setting, no_target
from studio.models.model_types import model_types
from studio.models.shape import Shape, read_shape, target_names
from studio.options import option
from studio.words import Sentence

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig


CLASS_HEADS = ("score", "classifier")  # names of the classification heads in transformers


def layer_ends(targets: str, setting: Setting) -> str | list[str]:
    """Resolve the option `targets` to "all-linear" or a list of suffixes of layer names.

    "all-linear" is resolved to explicit suffixes for mixtures of experts, because peft would add another kind of LoRA
    to the experts, with a rank other than the requested one and without support for DoRA, dropout and others; for
    models with layers that cannot have a delta (`Shape.fused`); for multimodal models; and for encoders with a
    classification head, whose new linear layers between the blocks and the head are trained in full.
    """
    shape = read_shape(setting.base) if setting.base else None
    if shape is not None and (
        shape.experts
        or shape.fused
        or shape.is_multimodal
        or setting.task_type == "SEQ_CLS"
        and shape.model_type in model_types()["encoder"]
    ):
        return sorted({".".join(name.split(".")[-2:]) for name in shape.targets(targets)})
    names = target_names(targets)
    return "all-linear" if names is None else list(names)


def peft_targets(targets: str, setting: Setting) -> str | list[str]:
    """peft's `target_modules` for the option `targets`: the result of `layer_ends`.

    For the language model inside a multimodal one it is a regular expression instead, which excludes the layers of the
    vision tower that have the same names.
    """
    shape = read_shape(setting.base) if setting.base else None
    if shape is None or not shape.is_multimodal:
        return layer_ends(targets, setting)
    kinds = {re.sub(r"\.\d+\.", ".*.", name, count=1) for name in shape.targets(targets)}
    return "|".join(re.escape(kind).replace(r"\*", r"\d+") for kind in sorted(kinds))


def target_layers(model: torch.nn.Module, targets: str, setting: Setting) -> dict[str, torch.nn.Module]:
    """Name → linear layer, for the layers of a loaded model that `targets` selects, without language or class heads."""
    ends, head = layer_ends(targets, setting), model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "in_features")
        and module is not head
        and name not in CLASS_HEADS
        and (ends == "all-linear" or f".{name}".endswith(tuple(f".{end}" for end in ends)))
    }


class Targeted(Method):
    """Base class of the methods that add a delta to the linear layers selected by the option `targets`."""

    transposed: ClassVar[bool] = False  # whether peft supports it on Conv1D layers (GPT-2 and relatives)

    targets: str = option(
        "all-linear",
        "Target modules",
        "Which layers get a delta: all-linear, attention, or names like q_proj,v_proj.",
        min_length=1,
        advanced=True,
    )

    def config(self, setting: Setting) -> PeftConfig:
        """The peft configuration for these options."""
        raise TypeError(f"{type(self).__name__} does not say how peft is configured")

    def placed(self, setting: Setting) -> dict[str, Any]:
        """The arguments of peft's configuration that say where the delta is added."""
        return {"task_type": setting.task_type, "target_modules": peft_targets(self.targets, setting)}

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        return get_peft_model(model, self.config(setting))

    def sizes(self, shape: Shape) -> list[tuple[int, int]]:
        """(input, output) features of each target layer."""
        return list(shape.targets(self.targets).values())

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.transposed and not self.transposed:
            return Sentence(
                "{method} does not know the layers of {architecture}; choose LoRA.",
                method=Sentence(self.title),
                architecture=shape.architecture,
            )
        return no_target(shape, self.targets) or super().refusal(shape, task, quantisation)

    def divisibility_refusal(
        self, shape: Shape | None, key: str, *, inputs: bool = True, outputs: bool = True
    ) -> Sentence | None:
        """Why the option `key` does not divide the widths of every target layer, with values that do; None if it does.

        inputs, outputs: whether it must divide the input widths, and the output widths.
        """
        if shape is None:
            return None
        size = getattr(self, key)
        layers = {
            name: [width for width, counts in zip(pair, (inputs, outputs), strict=True) if counts]
            for name, pair in shape.targets(self.targets).items()
        }
        unfit = next(((name, width) for name, widths in layers.items() for width in widths if width % size), None)
        if unfit is None:
            return None
        common = math.gcd(*(width for widths in layers.values() for width in widths))
        fitting = [number for number in range(2, common + 1) if common % number == 0] or [1]
        nearest = sorted(sorted(fitting, key=lambda number: abs(math.log(number / size)))[:4])
        return Sentence(
            "{option} {size} does not divide the width {width} of the layer {layer}; use {some}.",
            option=Sentence(type(self).model_fields[key].title),
            size=size,
            width=unfit[1],
            layer=unfit[0].rsplit(".", 1)[-1],
            some=", ".join(str(number) for number in nearest),
        )

    def rank_refusal(self, shape: Shape | None, key: str, times: int) -> Sentence | None:
        """Why the rank `key` is too high if each target layer must have `times` that rank; None if it is not."""
        size, narrowest = (
            getattr(self, key),
            min((width for pair in self.sizes(shape) for width in pair), default=None) if shape else None,
        )
        if narrowest is None or times * size <= narrowest:
            return None
        return Sentence(
            "{option} is {size}, but the narrowest layer is {width} wide; use {most} or less.",
            option=Sentence(type(self).model_fields[key].title),
            size=size,
            width=narrowest,
            most=narrowest // times,
        )

    def count_refusal(self, shape: Shape | None, count: int, what: Sentence) -> Sentence | None:
        """Why `count` values, called `what` in the message, exceed the smallest target layer; None if they fit."""
        smallest = min((inputs * outputs for inputs, outputs in self.sizes(shape)), default=count) if shape else count
        if count > smallest:
            return Sentence(
                "{count} {what} are more than the smallest layer has weights; use {smallest} or less.",
                count=count,
                what=what,
                smallest=smallest,
            )
        return None

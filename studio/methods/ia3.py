"""(IA)³: trainable scaling vectors for keys, values and the inner activations of the MLP."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.methods.targets import layer_ends
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

_KEYS_VALUES = ("k_proj", "v_proj", "key", "value")
_MLP_OUTPUT = ("down_proj", "fc2", "dense_4h_to_h", "wo")


class IA3(Method):
    """Learns to turn the keys, values and inner MLP signals of each block up or down, one number for each channel.

    Equation: k = l_k ⊙ W_k x,  v = l_v ⊙ W_v x,  MLP = W_down (l_ff ⊙ f(W_up x)), all l = 1 at the start
    Paper: Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning, arXiv:2205.05638
    Good for: few examples, and the smallest files: some ten thousand parameters for a model of a billion.
    Cost: next to nothing in memory and time.
    Limits: learns a change of manner rather than new skills; wants a learning rate ten times LoRA's.
    """

    title: ClassVar[str] = "(IA)³"
    family: ClassVar[str] = "additive"
    order: ClassVar[int] = 30
    artefact_type: ClassVar[str] = "IA3"
    learning_rate: ClassVar[float] = 3e-3

    name: Literal["ia3"] = option("ia3", "Method", "", hidden=True)
    attention: bool = option(
        True, "Scale keys and values", "Learn the scaling of what the attention looks up and finds."
    )
    mlp: bool = option(True, "Scale the MLP", "Learn the scaling of the inner signals of the feed-forward part.")

    def _names(self) -> list[str]:
        return [*(_KEYS_VALUES if self.attention else ()), *(_MLP_OUTPUT if self.mlp else ())]

    def wrap(self, model, setting=DEFAULT):
        from peft import IA3Config, get_peft_model

        present = [f".{name}" for name, _ in model.named_modules()]
        names = [
            name
            for name in layer_ends(",".join(self._names()), setting)
            if any(each.endswith(f".{name}") for each in present)
        ]
        return get_peft_model(
            model,
            IA3Config(
                task_type=setting.task_type,
                target_modules=names,
                feedforward_modules=[name for name in names if name.rsplit(".", 1)[-1] in _MLP_OUTPUT],
            ),
        )

    def parameter_count(self, shape: Shape) -> int:
        """One scale for each key and value channel and each inner MLP channel (Liu 2022, §3.3)."""
        found = shape.targets(",".join(self._names())) if self._names() else {}
        return sum(size[0] if name.rsplit(".", 1)[-1] in _MLP_OUTPUT else size[1] for name, size in found.items())

    def refusal(self, shape, task, quantisation):
        if not self._names():
            return Sentence("(IA)³ has nothing to scale: switch on keys and values, or the MLP.")
        if shape is not None and not self.parameter_count(shape):
            return Sentence(
                "(IA)³ does not know the layer names of {architecture}; choose LoRA.", architecture=shape.architecture
            )
        return super().refusal(shape, task, quantisation)

    def remark(self, shape):
        for on, part, names in (
            (self.attention, "Scale keys and values", _KEYS_VALUES),
            (self.mlp, "Scale the MLP", _MLP_OUTPUT),
        ):
            if on and not shape.targets(",".join(names)):
                return Sentence(
                    "'{option}' does nothing on {architecture}: it has no layers of its own for them. The rest is "
                    "trained.",
                    option=Sentence(part),
                    architecture=shape.architecture,
                )
        return None

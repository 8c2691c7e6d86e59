"""P-Tuning v2: prefix-tuning, by default without reparameterisation, with a linear classification head."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.prefix_tuning import PrefixTuning
from studio.options import option


class PTuningV2(PrefixTuning):
    """Puts trainable entries into every layer and, for classes, a small new head on top, in place of words that stand for the classes.

    Equation: head = softmax(q·[P_K ; K]ᵀ/√d)·[P_V ; V] in each layer; class = argmax W·h_last, with P and W trained
    Paper: Liu et al. 2022, P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and Tasks, arXiv:2110.07602
    Good for: sorting texts into classes with a frozen model, small ones included, where P-Tuning and prompt tuning fail; several label sets at once over one shared prompt (task: Multi-task classification).
    Cost: 0.1 % to 3 % of the parameters; the prefix takes a little time at each token, also in use.
    Limits: cannot be merged; wants a high learning rate; for answers in words it is Prefix-Tuning without a network.
    """

    title: ClassVar[str] = "P-Tuning v2"
    order: ClassVar[int] = 23
    learning_rate: ClassVar[float] = 1e-2

    name: Literal["p_tuning_v2"] = option("p_tuning_v2", "Method", "", hidden=True)
    reparameterise: bool = option(
        False,
        "Write it with a network",
        "A small network writes the prefix while learning. The paper found that it helps some tasks and hurts others; "
        "with it, lower the learning rate tenfold.",
    )

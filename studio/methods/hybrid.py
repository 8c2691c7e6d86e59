"""The hybrid methods: the free combination and three published ones (MAM adapter, UniPELT, S4)."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.hybrid_base import Hybrid
from studio.options import option
from studio.words import Sentence


class FreeCombination(Hybrid):
    """Mixes the parts that you tick, the same in every block: a bottleneck adapter, a prefix, a LoRA, and the biases.

    Equation: K, V ← [P_K; K], [P_V; V];  h = W₀x + (b₀ + Δb) + (α/r)·BAx;  h ← h + s·W_up f(W_down h)
    Paper: He et al. 2022, Towards a Unified View of Parameter-Efficient Transfer Learning, arXiv:2110.04366
    Good for: finding out which parts your data needs: switch one off, run again, compare.
    Cost: the sum of its parts, in memory and in time.
    Limits: more parts are not always better (87.0 with three parts against 87.4 with the adapter alone in Delta Tuning's comparison); mergeable only where LoRA and biases are all there is.
    """

    title: ClassVar[str] = "Free combination"
    order: ClassVar[int] = 63

    name: Literal["hybrid"] = option("hybrid", "Method", "", hidden=True)
    adapter: bool = option(True, "Bottleneck adapter", "A small two-layer network in each block.")
    place: Literal["pfeiffer", "parallel"] = option(
        "pfeiffer",
        "Place",
        "Where the network stands: behind the MLP, or beside it.",
        labels={"pfeiffer": "After the MLP (Pfeiffer)", "parallel": "Beside the MLP (parallel)"},
    )
    prefix: bool = option(True, "Prefix", "Trained keys and values that every token can attend to.")
    lora: bool = option(True, "LoRA", "Two thin matrices beside the chosen layers.")
    bitfit: bool = option(False, "Biases (BitFit)", "The number that each output of a linear layer has added to it.")
    added: bool = option(
        False,
        "Add biases",
        "Also give a bias to every linear layer that has none; the result can then not be merged.",
        advanced=True,
    )

    def mixes(self, blocks):
        chosen = {
            self.place if self.place == "parallel" else "adapter": self.adapter,
            "prefix": self.prefix,
            "lora": self.lora,
            "bias": self.bitfit,
        }
        return [{part for part, there in chosen.items() if there}] * blocks

    def merges(self):
        return not (self.adapter or self.prefix or (self.bitfit and self.added))


class MAM(Hybrid):
    """Puts a short prefix into attention and a wide parallel network beside the MLP, the two places where He et al. found them to work best.

    Equation: K, V ← [P_K; K], [P_V; V];  MLP(x) ← MLP(x) + s·W_up f(W_down x), s = 4
    Paper: He et al. 2022, Towards a Unified View of Parameter-Efficient Transfer Learning, arXiv:2110.04366
    Good for: hard tasks with much data, where one small part is too little; near full fine-tuning at 6.7 % of the parameters in the paper.
    Cost: as an adapter of this size, and some more attention at each token.
    Limits: cannot be merged, and stock peft cannot load it; a small mix such as LoRA alone does as well on easy tasks.
    """

    title: ClassVar[str] = "MAM adapter"
    order: ClassVar[int] = 60

    name: Literal["mam"] = option("mam", "Method", "", hidden=True)
    targets: str = option("attention", "Target modules", "", hidden=True)
    rank: int = option(8, "Rank r", "", ge=1, le=512, hidden=True)
    alpha: float = option(16, "Alpha α", "", gt=0, le=4096, hidden=True)
    size: int = option(
        64,
        "Bottleneck size m",
        "Width of each network; the paper uses 512 with a model of a thousand wide.",
        ge=1,
        le=4096,
    )
    scale: float = option(
        4.0,
        "Scale s",
        "Strength of the networks' output; up to 4 was used for parallel ones.",
        gt=0,
        le=64,
        advanced=True,
    )
    virtual_tokens: int = option(
        30,
        "Prefix length p",
        "How many trainable keys and values each layer can attend to.",
        unit="tokens",
        ge=1,
        le=512,
    )

    def mixes(self, blocks):
        return [{"prefix", "parallel"}] * blocks


class UniPELT(Hybrid):
    """Gives each block an adapter, a prefix and a LoRA, each behind a gate that learns how much of it a word needs.

    Equation: each part's output times G = σ(w·x + b), read from what goes into that part
    Paper: Mao et al. 2022, UniPELT: A Unified Framework for Parameter-Efficient Language Model Tuning, arXiv:2110.07577
    Good for: not knowing which part suits the task; in the paper best with little data, and never far behind the best single part.
    Cost: the sum of its parts; in the paper's own measurement a quarter more time in use.
    Limits: cannot be merged. The paper's gate looks at the whole sentence; here each token has its own, because in a decoder the whole sentence is not known yet.
    """

    title: ClassVar[str] = "UniPELT"
    order: ClassVar[int] = 61
    gates: ClassVar[bool] = True

    name: Literal["unipelt"] = option("unipelt", "Method", "", hidden=True)
    size: int = option(
        48,
        "Bottleneck size m",
        "Width of each network. More learns more and costs more memory; 16 to 64 is usual.",
        ge=1,
        le=4096,
    )

    def mixes(self, blocks):
        return [{"adapter", "prefix", "lora"}] * blocks


class S4(Hybrid):
    """Divides the blocks into four groups, few at both ends and many in the middle, and gives each group its own mix, as a search over designs found best.

    Equation: blocks in four groups of 1 : 2 : 2 : 1; adapter + LoRA | adapter + prefix | adapter + prefix + biases | prefix + biases + LoRA
    Paper: Chen et al. 2023, Parameter-Efficient Fine-Tuning Design Spaces, arXiv:2301.01821
    Good for: a strong mix without a search of your own; in the paper ahead of each single part at 0.5 % of the parameters.
    Cost: the sum of its parts, each in some blocks only.
    Limits: cannot be merged. Found on T5 and RoBERTa, so nobody promises it for your model; the sizes are yours, where the paper gives each block the same budget.
    """

    title: ClassVar[str] = "S4"
    order: ClassVar[int] = 62
    groups: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("adapter", "lora"),
        ("adapter", "prefix"),
        ("adapter", "prefix", "bias"),
        ("prefix", "bias", "lora"),
    )

    name: Literal["s4"] = option("s4", "Method", "", hidden=True)
    added: bool = option(
        True, "Add biases", "Where a mix has biases, also give one to every linear layer that has none.", advanced=True
    )

    def mixes(self, blocks):
        ends = [round(blocks * share / 6) for share in (1, 3, 5)]
        return [set(self.groups[sum(block >= end for end in ends)]) for block in range(blocks)]

    def refusal(self, shape, task, quantisation):
        if shape is not None and 0 < shape.layers < 4:
            return Sentence(
                "S4 divides the blocks into four groups, but {architecture} has only {count}; choose a free "
                "combination.",
                architecture=shape.architecture,
                count=shape.layers,
            )
        return super().refusal(shape, task, quantisation)

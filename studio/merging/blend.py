"""Blend LoRA adapters of one base model: weighted sums of their weight changes ΔW, and their kin.

Each class is a way of blending; its fields are its options, its name is the `combination_type` of peft's
`add_weighted_adapter`. All of them work on ΔW itself. peft's `linear`, `ties`, `dare_linear`, `dare_ties` and
`magnitude_prune` work on A and B apart: the product of two sums has cross terms, and pruned factors depend on how ΔW
happens to be split into A and B. So `linear` here is the exact sum, and of the others there is the form that peft calls
`…_svd`. Ranks, scalings and target modules may differ; a layer that an adapter does not change counts as ΔW = 0.

Independent of models: only the adapters' files are read. Options and refusals import no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from studio.merging import lora_delta
from studio.merging.lora_delta import Approximation, Factors, Rank, factor_dense, factor_product
from studio.options import Options, option
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

FEWEST, MOST = 2, 8  # adapters that can be blended
WEIGHTS = (-2.0, 2.0)  # smallest and largest weight of an adapter
_RANK = option(
    16,
    "Rank r of the blend",
    "Width of its two matrices. What does not fit into this rank is left out; the error says how much.",
    ge=1,
    le=512,
)
_DENSITY = option(0.5, "Density", "Share of each adapter's weight changes that is kept.", gt=0, le=1)
_SEED = option(0, "Seed", "Decides which weight changes are dropped at random.", ge=0, le=2**31 - 1)


class Blend(Options):
    """Base class of the ways of blending."""

    title: ClassVar[Sentence]
    help: ClassVar[Sentence]

    def layer(self, found: list[tuple[float, Factors]], at: int) -> Approximation:
        """The blend of one layer. found: (weight, ΔW) of the adapters that change it; at: the layer's position."""
        raise NotImplementedError

    def summary(self) -> str:
        """The way and its rank, for the adapter's card."""
        return f"{self.name} r={self.rank}" if hasattr(self, "rank") else self.name


class Linear(Blend):
    title: ClassVar[Sentence] = Sentence("Linear")
    help: ClassVar[Sentence] = Sentence(
        "The exact weighted sum, in the smallest rank that holds it: at most the sum of all ranks."
    )

    name: Literal["linear"] = option("linear", "Method", "", hidden=True)

    def layer(self, found, at):
        return factor_product(_stacked(found), Rank())


class Cat(Blend):
    title: ClassVar[Sentence] = Sentence("Cat (concatenation)")
    help: ClassVar[Sentence] = Sentence(
        "The exact weighted sum: the adapters' matrices side by side. The rank is the sum of all ranks."
    )

    name: Literal["cat"] = option("cat", "Method", "", hidden=True)

    def layer(self, found, at):
        stacked = _stacked(found)
        return Approximation(stacked, 0.0, factor_product(stacked, Rank()).norm)


class Svd(Blend):
    title: ClassVar[Sentence] = Sentence("SVD")
    help: ClassVar[Sentence] = Sentence("The weighted sum, then the closest adapter of the rank that you choose.")

    name: Literal["svd"] = option("svd", "Method", "", hidden=True)
    rank: int = _RANK

    def layer(self, found, at):
        return factor_product(_stacked(found), Rank(self.rank))


class Sparse(Blend):
    """Base class of the ways that drop a part of each ΔW first, so that the adapters disturb each other less."""

    rank: int = _RANK
    density: float = _DENSITY

    def layer(self, found, at):
        import torch

        generator = torch.Generator().manual_seed(getattr(self, "seed", 0) + at)
        weights = [weight for weight, _ in found]
        kept = [self.prune(factors.up @ factors.down, generator) for _, factors in found]
        return factor_dense(self.combine(weights, kept), Rank(self.rank), found[0][1].embedding)

    def prune(self, delta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """ΔW with only the share `density` of its entries other than zero; here the largest ones."""
        return _keep_largest(delta, self.density)

    def combine(self, weights: list[float], deltas: list[torch.Tensor]) -> torch.Tensor:
        """The blend of the pruned ΔW; here their weighted sum."""
        return sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))


class MagnitudePrune(Sparse):
    title: ClassVar[Sentence] = Sentence("Magnitude pruning, SVD")
    help: ClassVar[Sentence] = Sentence(
        "Keeps the largest changes of each adapter, sums them by weight, and reduces the sum to a rank."
    )

    name: Literal["magnitude_prune_svd"] = option("magnitude_prune_svd", "Method", "", hidden=True)


class Ties(Sparse):
    title: ClassVar[Sentence] = Sentence("TIES, SVD")
    help: ClassVar[Sentence] = Sentence(
        "Keeps the largest changes of each adapter, decides for each weight up or down by majority, and averages those "
        "that agree (Yadav 2023)."
    )

    name: Literal["ties_svd"] = option("ties_svd", "Method", "", hidden=True)
    majority_sign_method: Literal["total", "frequency"] = option(
        "total",
        "Majority by",
        "What decides up or down: the sum of the changes, or how many adapters change the weight that way.",
        labels={"total": "sum of the changes", "frequency": "number of adapters"},
    )

    def combine(self, weights, deltas):
        return _agreeing_mean(weights, deltas, self.majority_sign_method)


class DareLinear(Sparse):
    title: ClassVar[Sentence] = Sentence("DARE linear, SVD")
    help: ClassVar[Sentence] = Sentence(
        "Drops changes at random, enlarges the others in return, and sums them by weight (Yu 2023): on average the "
        "weighted sum."
    )

    name: Literal["dare_linear_svd"] = option("dare_linear_svd", "Method", "", hidden=True)
    seed: int = _SEED

    def prune(self, delta, generator):
        return _drop_at_random(delta, self.density, generator)


class DareTies(Ties):
    title: ClassVar[Sentence] = Sentence("DARE TIES, SVD")
    help: ClassVar[Sentence] = Sentence(
        "Drops changes at random, as DARE does, then decides up or down by majority, as TIES does."
    )

    name: Literal["dare_ties_svd"] = option("dare_ties_svd", "Method", "", hidden=True)
    seed: int = _SEED

    def prune(self, delta, generator):
        return _drop_at_random(delta, self.density, generator)


METHODS: dict[str, type[Blend]] = {
    cls.model_fields["name"].default: cls for cls in (Linear, Svd, Cat, Ties, DareLinear, DareTies, MagnitudePrune)
}


def refusal(parts: list[tuple[str, Path, dict]], weights: list[float]) -> Sentence | None:
    """Why these adapters cannot be blended with these weights; None if they can.

    parts: (name, folder, card) of each. Raises StudioError where a file cannot be read. Imports no torch.
    """
    if not FEWEST <= len(parts) <= MOST:
        return Sentence("Choose {fewest} to {most} adapters to blend.", fewest=FEWEST, most=MOST)
    first, _, first_card = parts[0]
    for name, folder, card in parts:
        if card.get("kind") == "model":
            return Sentence("“{name}” is a whole model, and only LoRA adapters can be blended.", name=name)
        if (card.get("base"), card.get("revision")) != (first_card.get("base"), first_card.get("revision")):
            return Sentence(
                "“{name}” belongs to the base model {base}, and “{first}” to {other}: only adapters of one base model "
                "can be blended.",
                name=name,
                base=card.get("base"),
                first=first,
                other=first_card.get("base"),
            )
        if sentence := lora_delta.plain_refusal(folder, name):
            return sentence
        for file, what in _COMPANIONS.items():
            if _text(folder / file) != _text(parts[0][1] / file):
                return Sentence(
                    "“{name}” and “{first}” were trained with different {what}.", name=name, first=first, what=what
                )
    if not any(weights):
        return Sentence("All weights are 0, so nothing would be left; move a slider.")
    return None


_COMPANIONS = {"rope.json": Sentence("context lengths"), "chat_template.jinja": Sentence("chat templates")}
"""Files beside an adapter's weights that must be the same → what they hold."""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def blend(
    parts: list[tuple[str, Path]],
    weights: list[float],
    how: Blend,
    target: Path,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Approximation]:
    """Write the blend of the LoRA adapters (name, folder) to `target`, as stock LoRA; returns layer → what was kept.

    Layer by layer, so that at most one dense ΔW of each adapter is in memory. progress: called after each layer with
    (done, count). Raises StudioError where an adapter is no plain LoRA or two adapters disagree on a layer's size.
    """
    chosen = [(*part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    read = [(name, weight, lora_delta.read_lora(folder, name)) for name, folder, weight in chosen]
    layers = sorted({layer for _, _, found in read for layer in found})
    made: dict[str, Approximation] = {}
    for at, layer in enumerate(layers):
        made[layer] = how.layer(_changes(read, layer), at)
        progress(at + 1, len(layers))
    config = lora_delta.read_config(parts[0][1], parts[0][0])
    lora_delta.write_lora(
        target,
        {layer: one.factors for layer, one in made.items()},
        base=config.get("base_model_name_or_path") or "",
        task_type=config.get("task_type"),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
    )
    for file in _COMPANIONS:
        if text := _text(parts[0][1] / file):
            (target / file).write_text(text, encoding="utf-8")
    return made


def _changes(read: list[tuple[str, float, dict[str, Factors]]], layer: str) -> list[tuple[float, Factors]]:
    """(weight, ΔW) of the adapters that change `layer`."""
    found = [(name, weight, layers[layer]) for name, weight, layers in read if layer in layers]
    sizes = {(factors.up.shape[0], factors.down.shape[1]) for _, _, factors in found}
    if len(sizes) > 1:
        raise StudioError(
            "The layer {layer} has another size in “{name}” than in “{first}”: they do not fit the same base model.",
            layer=layer,
            name=found[-1][0],
            first=found[0][0],
        )
    return [(weight, factors) for _, weight, factors in found]


def _stacked(found: list[tuple[float, Factors]]) -> Factors:
    """Factors whose product is the weighted sum exactly; the weights go to `up`."""
    import torch

    down = torch.cat([factors.down for _, factors in found])
    up = torch.cat([weight * factors.up for weight, factors in found], 1)
    return Factors(down, up, found[0][1].embedding)


def _keep_largest(delta: torch.Tensor, density: float) -> torch.Tensor:
    import torch

    flat = delta.flatten()
    kept = flat.abs().topk(max(1, int(density * flat.numel()))).indices
    return torch.zeros_like(flat).index_copy(0, kept, flat[kept]).view_as(delta)


def _drop_at_random(delta: torch.Tensor, density: float, generator: torch.Generator) -> torch.Tensor:
    """Each entry with probability `density`, divided by it, so that the expected value is ΔW."""
    import torch

    mask = torch.rand(delta.shape, generator=generator, dtype=torch.float32) < density
    return delta * mask / density


def _agreeing_mean(weights: list[float], deltas: list[torch.Tensor], majority: str) -> torch.Tensor:
    """For each entry the mean of the weighted changes whose sign is that of the majority, 0 where there is none.

    As peft's `ties`, but an adapter with a negative weight votes for the opposite of its change: there it votes for
    the change itself, which is then subtracted.
    """
    import torch

    signed = [delta if weight >= 0 else -delta for weight, delta in zip(weights, deltas, strict=True)]
    votes = sum(delta if majority == "total" else delta.sign() for delta in signed)
    elected = torch.ones_like(votes).where(votes >= 0, -1)
    total, count = torch.zeros_like(votes), torch.zeros_like(votes)
    for weight, delta in zip(weights, signed, strict=True):
        agrees = delta.sign() == elected
        total += abs(weight) * delta * agrees
        count += agrees
    return total / count.clamp(min=1)

"""Change the rank of single LoRA layers of a peft model, keeping what they compute and the state of the optimiser.

A layer adds s·B·A·x to its output. Its scaling s is kept: with the rank r, peft's α becomes s·r (rsLoRA: s·√r), and the
configuration records both as `rank_pattern` and `alpha_pattern`, so that the saved adapter loads in stock peft.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

ADAPTER = "default"  # peft's name of the adapter that is trained
METHODS = (
    "lora",
    "qlora",
    "rslora",
    "lora_plus",
)  # those that train A and B of plain LoRA layers and save them as such
OPTIMISERS = ("adamw", "sgd")  # those whose state has the shape of the parameters


@dataclass
class Layer:
    """A LoRA layer: `name` in the model, `module`, and the matrices a [rank, inputs] and b [outputs, rank]."""

    name: str
    module: torch.nn.Module

    @property
    def a(self) -> torch.nn.Parameter:
        return self.module.lora_A[ADAPTER].weight

    @property
    def b(self) -> torch.nn.Parameter:
        return self.module.lora_B[ADAPTER].weight

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def widest(self) -> int:
        """The highest rank that the layer's delta can have."""
        return min(self.a.shape[1], self.b.shape[0])


def layers(model: torch.nn.Module) -> list[Layer]:
    """The LoRA layers of a peft model, by name as in its base model."""
    return [
        Layer(name.removeprefix("base_model.model."), module)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "lora_A", None), torch.nn.ModuleDict) and ADAPTER in module.lora_A
    ]


def spectrum(layer: Layer) -> torch.Tensor:
    """The singular values of B·A, the largest first: shape [rank]."""
    return _decompose(layer)[1]


def effective_rank(layer: Layer) -> float:
    """exp of the entropy of the squared singular values' shares (Roy & Vetterli 2007): between 1 and the rank; 0 for a
    delta that is zero.
    """
    shares = spectrum(layer).square()
    if not shares.sum() > 0:
        return 0.0
    shares = shares / shares.sum()
    return math.exp(-(shares * shares.clamp_min(1e-30).log()).sum().item())


def needed_rank(layer: Layer, dropped: float) -> int:
    """The lowest rank at which B·A keeps all but the share `dropped` of its squared norm; 0 for one that is zero."""
    energy = spectrum(layer).square()
    if not energy.sum() > 0:
        return 0
    lost = energy.flip(0).cumsum(0).flip(0) / energy.sum()  # by dropping this direction and all smaller ones
    return int((lost > dropped).sum())


def remember(layer: Layer, optimizer: torch.optim.Optimizer | None) -> Callable[[], None]:
    """A function that gives the layer its present matrices and its state in the optimiser again."""
    kept = layer.a.data.clone(), layer.b.data.clone()
    states = [
        (parameter, {name: value for name, value in getattr(optimizer, "state", {}).get(parameter, {}).items()})
        for parameter in (layer.a, layer.b)
    ]

    def restore() -> None:
        _replace(layer, *kept)
        for parameter, state in states:
            if state:
                optimizer.state[parameter] = state

    return restore


def grow(layer: Layer, rank: int, optimizer: torch.optim.Optimizer | None, seed: int) -> None:
    """Raise the rank; the new rows of A are drawn as peft draws them, the new columns of B are zero, so the outputs
    stay the same. The new directions start without momentum and with the mean second moment of the others.
    """
    more = rank - layer.rank
    drawn = torch.empty(more, layer.a.shape[1])
    bound = 1 / math.sqrt(layer.a.shape[1])  # of kaiming_uniform_(a=√5), peft's choice
    drawn.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
    a = torch.cat([layer.a.data, drawn.to(layer.a)])
    b = torch.cat([layer.b.data, layer.b.data.new_zeros(layer.b.shape[0], more)], dim=1)
    for parameter, dim in ((layer.a, 0), (layer.b, 1)):
        _each_moment(optimizer, parameter, lambda name, value, dim=dim: _padded(name, value, more, dim))
    _replace(layer, a, b)


def shrink(layer: Layer, rank: int, optimizer: torch.optim.Optimizer | None) -> None:
    """Lower the rank: keep the directions of the `rank` largest singular values of B·A, each shared equally by A and B.

    With B' = B·Q and A' = P·A the gradients are those of A times Qᵀ and those of B times Pᵀ; the first moments of the
    optimiser are converted likewise, and the second ones with the squares.
    """
    left, values, right = _decompose(layer)
    roots = values[:rank].sqrt()
    inverse = torch.where(roots > 0, 1 / roots, torch.zeros_like(roots))
    dtype, device = layer.a.dtype, layer.a.device
    a = (roots[:, None] * right[:rank]).to(device, dtype)
    b = (left[:, :rank] * roots).to(device, dtype)
    old_a, old_b = layer.a.data.double().cpu(), layer.b.data.double().cpu()
    p = (inverse[:, None] * (left[:, :rank].T @ old_b)).to(device)
    q = ((old_a @ right[:rank].T) * inverse).to(device)

    def convert_a(name, value):
        factor = q.square() if name.endswith("sq") else q
        return (factor.T @ value.double()).to(value.dtype)

    def convert_b(name, value):
        factor = p.square() if name.endswith("sq") else p
        return (value.double() @ factor.T).to(value.dtype)

    _each_moment(optimizer, layer.a, convert_a)
    _each_moment(optimizer, layer.b, convert_b)
    _replace(layer, a, b)


def match(model: torch.nn.Module, shapes: dict[str, torch.Size]) -> None:
    """Give each LoRA layer the rank that its matrix A has in `shapes`, parameter's name → shape. The values in it are
    undefined then: load them next.
    """
    ends = (f".lora_A.{ADAPTER}.weight", ".lora_A.weight")  # in a model and in an adapter's file
    found = {name.removesuffix(end): shape[0] for name, shape in shapes.items() for end in ends if name.endswith(end)}
    ranks = {name.removeprefix("base_model.model."): rank for name, rank in found.items()}
    changed = [layer for layer in layers(model) if ranks.get(layer.name, layer.rank) != layer.rank]
    for layer in changed:
        rank = ranks[layer.name]
        _replace(layer, layer.a.data.new_zeros(rank, layer.a.shape[1]), layer.b.data.new_zeros(layer.b.shape[0], rank))
    if changed:
        record(model)


def record(model: torch.nn.Module) -> None:
    """Write ranks and α of the layers that differ from the configuration's into `rank_pattern` and `alpha_pattern`."""
    config = model.peft_config[ADAPTER]
    changed = [layer for layer in layers(model) if layer.rank != config.r]
    config.rank_pattern = {layer.name: layer.rank for layer in changed}
    config.alpha_pattern = {layer.name: layer.module.lora_alpha[ADAPTER] for layer in changed}


def _decompose(layer: Layer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The singular value decomposition of B·A without forming it: (left [outputs, rank], values [rank], right [rank,
    inputs]) in double precision on the CPU.
    """
    qb, rb = torch.linalg.qr(layer.b.detach().double().cpu())
    qa, ra = torch.linalg.qr(layer.a.detach().double().cpu().T)
    left, values, right = torch.linalg.svd(rb @ ra.T)
    return qb @ left, values, right @ qa.T


def _replace(layer: Layer, a: torch.Tensor, b: torch.Tensor) -> None:
    """Set both matrices. The parameters stay the same objects, for the optimiser and whoever else holds them."""
    rank, scaling = a.shape[0], layer.module.scaling[ADAPTER]
    for parameter, value in ((layer.a, a), (layer.b, b)):
        parameter.grad = None
        parameter.data = value.contiguous()
    layer.module.lora_A[ADAPTER].out_features = rank
    layer.module.lora_B[ADAPTER].in_features = rank
    layer.module.r[ADAPTER] = rank
    layer.module.lora_alpha[ADAPTER] = scaling * (math.sqrt(rank) if layer.module.use_rslora[ADAPTER] else rank)


def _each_moment(optimizer, parameter: torch.nn.Parameter, convert) -> None:
    """Replace each state tensor that has the parameter's shape by convert(name, tensor)."""
    state = getattr(optimizer, "state", {}).get(parameter, {})
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
            state[name] = convert(name, value).contiguous()


def _padded(name: str, value: torch.Tensor, more: int, dim: int) -> torch.Tensor:
    """Append `more` directions along `dim`: zeros, for second moments the mean of the others."""
    mean = value.mean(dim, keepdim=True)
    added = (mean if name.endswith("sq") else torch.zeros_like(mean)).expand(
        *(more if at == dim else size for at, size in enumerate(value.shape))
    )
    return torch.cat([value, added], dim=dim)

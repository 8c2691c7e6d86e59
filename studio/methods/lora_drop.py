"""LoRA-drop: separate LoRA matrices for the most important layers only; the other layers share theirs."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.lora import LoRA
from studio.models.shape import Shape
from studio.options import option

_NAME = "default"  # peft's name of the adapter being trained


class LoRADrop(LoRA):
    """Tries LoRA on a sample of the data, lets the layers that used it most keep their own, and has all others share one.

    Equation: I_i = ‖ΔW_i·x_i‖² summed over the sample; the highest of each kind of layer keep B_i·A_i, the others share one B·A
    Paper: Zhou et al. 2024, LoRA-drop: Efficient LoRA Parameter Pruning based on Output Evaluation, arXiv:2402.07721
    Good for: LoRA's quality with about half of its trainable parameters.
    Cost: some steps on a sample before the run begins, the same memory and time as LoRA after that.
    Limits: only the trainable parameters are fewer: the file holds the shared matrices once for each layer, so that every server loads it. The
    paper keeps layers until they hold 90 % of the importance; here you say how many, so that the count is known before the run.
    """

    title: ClassVar[str] = "LoRA-drop"
    order: ClassVar[int] = 18

    name: Literal["lora_drop"] = option("lora_drop", "Method", "", hidden=True)
    share: float = option(
        0.4,
        "Layers that keep their own",
        "Share of the layers of each kind (all q_proj, say) that keep a LoRA of their own; the others share one.",
        gt=0,
        lt=1,
    )
    sample: int = option(
        16,
        "Batches to measure on",
        "How many batches are trained on for a try, to see which layers use their LoRA most.",
        unit="batches",
        ge=1,
        le=1000,
    )

    def wrap(self, model, setting=DEFAULT):
        model = super().wrap(model, setting)
        layers = _layers(model)
        names = list(layers)
        # Without data (when only the parameters are counted), the upper layers are taken as the most important ones, as
        # in the paper's figures.
        importance = (
            setting.once("lora_drop", lambda: _importance(model, setting.batches(self.sample)))
            if setting.batches
            else {name: at for at, name in enumerate(names)}
        )
        for kind in _kinds({name: (layer.in_features, layer.out_features) for name, layer in layers.items()}):
            by_rank = sorted(kind, key=lambda name: -importance[name])
            others = sorted(by_rank[self._kept(len(kind)) :], key=names.index)
            for name in others[1:]:
                for matrix in ("lora_A", "lora_B"):
                    getattr(layers[name], matrix)[_NAME].weight = getattr(layers[others[0]], matrix)[_NAME].weight
        return model

    def _kept(self, count: int) -> int:
        """Number of layers, out of `count` of one kind, that keep their own LoRA."""
        return max(1, round(self.share * count))

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the layers with their own LoRA and one shared LoRA per kind (Zhou 2024, §3.3)."""
        sizes = shape.targets(self.targets)
        return sum(
            self.rank * sum(sizes[kind[0]]) * min(len(kind), self._kept(len(kind)) + 1) for kind in _kinds(sizes)
        )

    def summary(self) -> str:
        return f"{super().summary()}, {self.share:.0%} kept"


def _kinds(sizes: dict[str, tuple[int, int]]) -> list[list[str]]:
    """Group the layers that can share a LoRA, by last name component and size. In the order of the model."""
    found: dict[tuple, list[str]] = {}
    for name, size in sizes.items():
        found.setdefault((name.rpartition(".")[2], *size), []).append(name)
    return list(found.values())


def _layers(model) -> dict:
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _importance(model, batches: list[dict]) -> dict[str, float]:
    """Layer name → ‖ΔW·x‖² summed over `batches`, after one epoch of training on them.

    The model's parameters are restored afterwards.
    """
    import torch

    labelled = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in labelled]
    optimizer = torch.optim.AdamW(labelled, lr=1e-3)
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found: dict[str, torch.Tensor] = {}

    def measure(name: str, scale: float):
        def hook(layer, inputs, output):
            found[name] = found.get(name, 0) + (scale * output.float()).square().sum()

        return hook

    hooks = [
        layer.lora_B[_NAME].register_forward_hook(measure(name, layer.scaling[_NAME]))
        for name, layer in _layers(model).items()
    ]
    with torch.no_grad():
        for batch in batches:
            model(**batch)
        for parameter, old in zip(labelled, before, strict=True):
            parameter.copy_(old)
    for hook in hooks:
        hook.remove()
    return {name: value.item() for name, value in found.items()}

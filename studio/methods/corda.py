"""CorDA: LoRA initialised from the singular directions of the weights weighted by the covariance of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from studio.methods.base import DEFAULT
from studio.methods.base_changing import BaseChangingLoRA
from studio.methods.lora import LoRA
from studio.methods.targets import target_layers
from studio.options import option

if TYPE_CHECKING:
    import torch

_DAMP = 0.01  # added to the diagonal of the normalised covariance


class CorDA(BaseChangingLoRA, LoRA):
    """Sorts the directions of each weight by how much your data uses them, and trains the most used ones, or only those that are hardly used.

    Equation: C = X·Xᵀ of a layer's inputs on the data, W₀·C = U·S·Vᵀ, (α/r)·B₀·A₀ = U_r·S_r·V_rᵀ·C⁻¹, h = (W₀ − (α/r)·B₀·A₀)x + (α/r)·B·A·x
    Paper: Yang et al. 2024, CorDA: Context-Oriented Decomposition Adaptation of Large Language Models, arXiv:2406.05223
    Good for: learning faster than LoRA, since the gradients are large from the first step; or, with the least used directions, forgetting less.
    Cost: some batches are read and every weight is decomposed before the first step; the adapter is saved as a LoRA of twice the rank.
    Limits: it changes the base while it learns, so not on 4- or 8-bit bases, and in 16 bit the moved part is rounded. To keep knowledge the
    paper reads questions about that knowledge; here your own data is read in both cases.
    """

    title: ClassVar[str] = "CorDA"
    unknown: ClassVar[tuple[str, ...]] = ("modernbert",)  # removes padding, so its inputs do not match the mask
    order: ClassVar[int] = 18
    transposed: ClassVar[bool] = False

    name: Literal["corda"] = option("corda", "Method", "", hidden=True)
    mode: Literal["ipm", "kpm"] = option(
        "ipm",
        "Directions that learn",
        "Those that your data uses most learn it faster; those that it uses least disturb the rest less.",
        labels={"ipm": "The most used", "kpm": "The least used"},
    )
    sample: int = option(
        8,
        "Batches to look at",
        "How many batches are read to see what the layers' inputs are like.",
        unit="batches",
        ge=1,
        le=1000,
    )

    def config(self, setting, **more):
        from peft.tuners.lora.config import CordaConfig

        if setting.batches is None:  # only the parameters are counted
            return super().config(setting, **more)
        return super().config(
            setting, init_lora_weights="corda", corda_config=CordaConfig(corda_method=self.mode), **more
        )

    def wrap(self, model, setting=DEFAULT):
        if setting.batches is not None:
            _decompose(target_layers(model, self.targets, setting), model, self, setting.batches(self.sample))
        return super().wrap(model, setting)

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)


class _Directions(NamedTuple):
    """The attribute `eigens` that peft's `corda_init` reads from a layer."""

    U_WC: torch.Tensor  # [output, r]
    S_WC: torch.Tensor  # [r]
    V_WC: torch.Tensor  # [input, r], multiplied by C⁻¹


def _decompose(layers: dict, model, method: CorDA, batches: list[dict]) -> None:
    """Set on each of `layers` the attribute `eigens`, from which peft initialises its LoRA.

    Replaces peft's `preprocess_corda`, which supports neither batches nor padding and needs a package that is not a
    dependency of peft.
    """
    import torch

    uses, seen = {}, None

    def look(name: str):
        def hook(layer, inputs):
            x = inputs[0].detach().float().flatten(0, -2)  # [tokens, input]; OPT already flattens before its MLP
            x = x if seen is None else x[seen.flatten()]
            uses[name] = uses.get(name, 0) + x.T @ x

        return hook

    hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in layers.items()]
    with torch.no_grad():
        for batch in batches:
            seen = batch["attention_mask"].bool() if "attention_mask" in batch else None
            model.eval()(**{key: value for key, value in batch.items() if key != "labels"})
    for hook in hooks:
        hook.remove()
    for name, use in uses.items():
        layers[name].eigens = _directions(
            layers[name].weight.detach().float(), use / use.diagonal().mean(), method.rank, method.mode
        )


def _directions(weight: torch.Tensor, use: torch.Tensor, rank: int, mode: str) -> _Directions:
    """The `rank` singular directions of `weight` [output, input] that the inputs use most ("ipm") or least ("kpm").

    use: covariance of the inputs [input, input], scaled to a mean diagonal of 1.
    """
    import torch

    use = use + _DAMP * torch.eye(len(use), device=use.device)  # singular with few rows
    u, s, v = torch.linalg.svd(weight @ use, full_matrices=False)
    picked = slice(rank) if mode == "ipm" else slice(-rank, None)
    return _Directions(u[:, picked], s[picked].clone(), torch.linalg.solve(use, v[picked].T))

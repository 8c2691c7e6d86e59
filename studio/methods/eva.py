"""EVA: LoRA initialised from the principal components of each layer's inputs on the training data."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.lora import LoRA
from studio.models.shape import Shape, read_shape
from studio.options import option
from studio.words import Sentence, StudioError


class EVA(LoRA):
    """Looks at your data before the run and lets each LoRA begin with the directions in which its layer's inputs vary most.

    Equation: X = U·S·Vᵀ of a layer's inputs on the data, A = the first r rows of Vᵀ, B = 0, h = W₀x + (α/r)·B·A·x
    Paper: Paischer et al. 2024, Parameter Efficient Fine-tuning via Explained Variance Adaptation, arXiv:2410.07170
    Good for: faster learning than LoRA on data that differs much from what the base model knows.
    Cost: some batches are read before the first step; after that the same as LoRA.
    Limits: every layer keeps the same rank here, where the paper also moves ranks between layers; a short run gains little.
    """

    title: ClassVar[str] = "EVA"
    order: ClassVar[int] = 18

    name: Literal["eva"] = option("eva", "Method", "", hidden=True)
    sample: int = option(
        8,
        "Batches to look at",
        "How many batches are read to see what the layers' inputs are like.",
        unit="batches",
        ge=1,
        le=1000,
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import EvaConfig, get_peft_model, initialize_lora_eva_weights

        if setting.batches is None:  # only the parameters are counted
            return super().wrap(model, setting)
        batches = [batch for batch in setting.batches(self.sample) if _count(batch, model) >= self.rank]
        if not batches:
            raise StudioError(
                "EVA needs batches with at least {rank} tokens that are trained on, and none has them; raise the batch size, lower "
                "the rank, or choose LoRA.",
                rank=self.rank,
            )
        model = get_peft_model(model, self.config(setting, init_lora_weights="eva", eva_config=EvaConfig(rho=1.0)))
        initialize_lora_eva_weights(model, eva_state_dict=_directions(model, batches, self.rank))
        config = model.peft_config["default"]
        config.init_lora_weights, config.eva_config = True, None  # loading the adapter must not need data
        return model

    def refusal(self, shape: Shape | None, task, quantisation):
        if shape is not None and (found := shape.targets(self.targets)):
            narrowest = min(rows for rows, _ in found.values())
            if self.rank > narrowest:
                return Sentence(
                    "EVA's rank can be at most {width}, the narrowest input of its layers, but is {rank}.",
                    width=narrowest,
                    rank=self.rank,
                )
        return super().refusal(shape, task, quantisation)


def _count(batch: dict, model) -> int:
    """Number of tokens, or image patches, of a batch that are used."""
    looked_at = _looked_at(batch)
    return (
        len(batch["pixel_values"]) * read_shape(model.config._name_or_path).context
        if looked_at is None
        else int(looked_at.sum())
    )


def _directions(model, batches: list[dict], rank: int) -> dict:
    """Layer name → [rank, width]: the directions in which the layer's inputs over `batches` vary most.

    Reads each batch once, and analyses an input once, however many layers share it. peft's own search repeats the
    batches until no direction of any layer turns any more, and compares inputs as Python lists.
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.utils.incremental_pca import IncrementalPCA

    found: dict[str, IncrementalPCA] = {}
    seen = looked_at = None  # the latest input with the name of its layer; the tokens of the batch that are used

    def look(name: str, inputs: tuple) -> None:
        nonlocal seen
        if seen and inputs[0] is seen[0]:  # as of queries, keys and values
            found[name] = found[seen[1]]
            return
        seen = inputs[0], name
        if name not in found:
            found[name] = IncrementalPCA(n_components=rank, lowrank=True, lowrank_seed=42)
        found[name].partial_fit(_tokens(inputs[0], looked_at).float())

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs)) for name, layer in layers
    ]
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad(), model.eval().disable_adapter():
            for batch in batches:
                batch = {key: value.to(device) for key, value in batch.items()}
                looked_at = _looked_at(batch)
                model(**batch)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    return {name: pca.components_ for name, pca in found.items()}


def _looked_at(batch: dict):
    """Mask [batch, length] of the tokens that are used: the labelled ones, or for classification all but padding.

    None for images, of which all patches are used.
    """
    import torch

    if "pixel_values" in batch:
        return None
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    return mask & (batch["labels"] != -100) if batch["labels"].shape == mask.shape else mask


def _tokens(states, looked_at):
    """The rows of a layer's input at the used tokens. It may come flattened, as OPT's does."""
    rows = states.flatten(0, -2)
    return rows if looked_at is None else rows[looked_at.flatten()]

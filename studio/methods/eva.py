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
        # peft would loop forever, waiting for a batch with at least r tokens.
        batches = [batch for batch in setting.batches(self.sample) if _count(batch, model) >= self.rank]
        if not batches:
            raise StudioError(
                "EVA needs batches with at least {rank} tokens that are trained on, and none has them; raise the batch size, lower "
                "the rank, or choose LoRA.",
                rank=self.rank,
            )
        model = get_peft_model(model, self.config(setting, init_lora_weights="eva", eva_config=EvaConfig(rho=1.0)))
        initialize_lora_eva_weights(
            model,
            dataloader=batches,
            prepare_model_inputs_fn=_looked_at,
            prepare_layer_inputs_fn=_tokens,
            show_progress_bar=False,
        )
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


def _looked_at(batch: dict, *_):
    """Mask [batch, length] of the tokens that are used: the labelled ones, or for classification all but padding.

    None for images, of which all patches are used.
    """
    import torch

    if "pixel_values" in batch:
        return None
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    return mask & (batch["labels"] != -100) if batch["labels"].shape == mask.shape else mask


def _tokens(inputs, looked_at, _):
    """The rows of a layer's input at the used tokens. Unlike peft's, it supports OPT, which flattens the batch."""
    rows = (inputs if hasattr(inputs, "flatten") else inputs[0]).flatten(0, -2)
    return rows if looked_at is None else rows[looked_at.flatten()]

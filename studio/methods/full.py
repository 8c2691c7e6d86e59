"""Full fine-tuning, the baseline."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.shape import Shape
from studio.options import option


class Full(Method):
    """Changes every weight of the model; all other methods are measured against it.

    Equation: W = W₀ − η·∇W for every weight
    Paper: the usual way of training; Howard & Ruder 2018, arXiv:1801.06146, made it usual for language models
    Good for: much data, new languages or domains, and small models.
    Cost: about 16 bytes of memory a parameter with AdamW, and a whole model on disk for each task.
    Limits: forgets old skills most easily; the result is a model, not an adapter; the base cannot be quantised.
    """

    title: ClassVar[str] = "Full fine-tuning"
    family: ClassVar[str] = "baseline"
    order: ClassVar[int] = 1
    artefact_type: ClassVar[str] = "model"
    learning_rate: ClassVar[float] = 2e-5
    leaves_base_unchanged: ClassVar[bool] = False

    name: Literal["full"] = option("full", "Method", "", hidden=True)
    embeddings: bool = option(
        True,
        "Train the embeddings too",
        "Also change the table of word vectors; off saves memory with large vocabularies.",
    )

    def wrap(self, model, setting=DEFAULT):
        model.requires_grad_(True)
        if not self.embeddings:
            model.get_input_embeddings().requires_grad_(False)
        return model

    def parameter_count(self, shape: Shape) -> int:
        if self.embeddings:
            return shape.parameters
        return shape.parameters - shape.vocab_size * shape.hidden

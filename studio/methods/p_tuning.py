"""P-Tuning: a soft prompt produced by a small trainable encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.model_types import GEMMA4
from studio.models.shape import Shape
from studio.options import option


class PTuning(Method):
    """Lets a small network write the word-like vectors before the input, which trains more steadily than the vectors alone.

    Equation: p = MLP(e) or MLP(biLSTM(e)), y = f([p ; E(x)]); e and the network are trained
    Paper: Liu et al. 2021, GPT Understands, Too, arXiv:2103.10385
    Good for: understanding tasks with a frozen model, where prompt tuning is unsteady.
    Cost: a small network while learning; in use only the finished vectors remain.
    Limits: never mergeable, not with packing; weak on models under a billion parameters.
    """

    title: ClassVar[str] = "P-Tuning"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "soft prompt"
    order: ClassVar[int] = 21
    artefact_type: ClassVar[str] = "P_TUNING"
    learning_rate: ClassVar[float] = 3e-3
    # peft finds no number of heads in their configs, or uses a width other than that of the embeddings.
    unknown: ClassVar[tuple[str, ...]] = ("distilbert", "mamba", "falcon_mamba", "electra", "albert", *GEMMA4)
    prompt_learning: ClassVar[bool] = True

    name: Literal["p_tuning"] = option("p_tuning", "Method", "", hidden=True)
    virtual_tokens: int = option(
        20, "Virtual tokens", "How many vectors stand before the input.", unit="tokens", ge=1, le=1024
    )
    encoder: Literal["MLP", "LSTM"] = option(
        "MLP",
        "Encoder",
        "The network that writes the vectors: three layers, or a two-way LSTM before them.",
        labels={"MLP": "MLP", "LSTM": "Bi-LSTM + MLP"},
    )
    encoder_hidden: int = option(128, "Encoder width", "Hidden size of the network.", ge=8, le=8192, advanced=True)
    encoder_layers: int = option(
        2, "LSTM layers", "Depth of the LSTM; the MLP always has three layers.", ge=1, le=8, advanced=True
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import PromptEncoderConfig, get_peft_model

        config = PromptEncoderConfig(
            task_type=setting.task_type,
            num_virtual_tokens=self.virtual_tokens,
            encoder_reparameterization_type=self.encoder,
            encoder_hidden_size=self.encoder_hidden,
            encoder_num_layers=self.encoder_layers,
            encoder_dropout=0.0,
        )
        return get_peft_model(model, config)

    def parameter_count(self, shape: Shape) -> int:
        """p·d for the embeddings, plus peft's encoder: three linear layers, or a bidirectional LSTM and two of them."""
        size, hidden = shape.hidden, self.encoder_hidden
        count = self.virtual_tokens * size
        if self.encoder == "MLP":
            return count + (size * hidden + hidden) + (hidden * hidden + hidden) + (hidden * size + size)
        for layer in range(self.encoder_layers):
            inputs = size if layer == 0 else 2 * hidden
            count += 2 * (4 * hidden * inputs + 4 * hidden * hidden + 8 * hidden)
        return count + (2 * hidden * 2 * hidden + 2 * hidden) + (2 * hidden * size + size)

    def summary(self) -> str:
        return f"{self.title} p={self.virtual_tokens}"

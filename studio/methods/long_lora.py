"""LongLoRA: extend the context by RoPE scaling, with shifted sparse attention in training to save memory."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from studio.methods.base import DEFAULT
from studio.methods.lora import LoRA
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

_ROTARY = ("llama", "mistral", "qwen2", "qwen3")  # plain RoPE, and attention through AttentionInterface


class LongLoRA(LoRA):
    """Lets the model read texts several times as long as it was made for, learning on them in overlapping pieces to save time and memory.

    Equation: positions p → p/factor; while learning, each token attends to its group, half of the heads to groups shifted by half; LoRA + embeddings + norms
    Paper: Chen et al. 2023, LongLoRA: Efficient Fine-tuning of Long-Context Large Language Models, arXiv:2309.12307
    Good for: long documents: set Max sequence length to the longer context, and give it long examples.
    Cost: less time and memory for attention than a full one while learning, none in use; the embeddings are trained too, which makes the file larger.
    Limits: the base's short-range answers change as well, so train at least some hundred steps; other tools must set the RoPE
    scaling that the model card names, because peft's files do not hold it; with packing it saves no time.
    """

    title: ClassVar[str] = "LongLoRA"
    order: ClassVar[int] = 19
    leaves_base_unchanged: ClassVar[bool] = False  # RoPE stays scaled

    name: Literal["long_lora"] = option("long_lora", "Method", "", hidden=True)
    factor: float = option(
        4, "Longer by", "How many times the base model's context the new one is.", unit="×", gt=1, le=32
    )
    group: int = option(
        1024,
        "Group size",
        "Tokens that attend to each other while learning; a quarter of the new context is usual. Shorter examples see "
        "all of themselves.",
        unit="tokens",
        ge=16,
        le=65_536,
    )
    trained: bool = option(
        True,
        "Train embeddings and norms",
        "Also change the word vectors and the norms, which the paper found to matter for long contexts.",
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.models.rope_scaling import apply_rope_scaling
        from studio.tuners.shifted_attention import use_shifted_attention

        apply_rope_scaling(model, self.factor)
        use_shifted_attention(model, self.group // 2 * 2)  # even, for the shift by half a group
        saved = {
            "modules_to_save": list(_SAVED),
            "ensure_weight_tying": bool(model.config.get_text_config().tie_word_embeddings),
        }
        return get_peft_model(model, self.config(setting, **(saved if self.trained else {})))

    def save(self, model, folder):
        from studio.models.rope_scaling import save_rope_scaling

        super().save(model, folder)
        save_rope_scaling(model.base_model.model, self.factor, folder)

    def context(self, shape):
        return int(shape.context * self.factor)

    def parameter_count(self, shape: Shape) -> int:
        """The parameters of LoRA, plus those of the embeddings and norms if they are trained (Chen 2023, §3.3)."""
        names = [name for name in shape.tensors if any(part in _SAVED for part in name.split("."))]
        return super().parameter_count(shape) + (
            sum(math.prod(shape.tensors[name]) for name in names) if self.trained else 0
        )

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.model_type not in _ROTARY:
            return Sentence(
                "LongLoRA does not know the positions of {architecture}; it works on Llama, Mistral, Qwen2 and Qwen3.",
                architecture=shape.architecture,
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{super().summary()}, context ×{self.factor:g}"


_SAVED = (
    "embed_tokens",
    "input_layernorm",
    "post_attention_layernorm",
    "norm",
    "q_norm",
    "k_norm",
    "post_feedforward_layernorm",
)

"""Prompt tuning: trainable embeddings prepended to the input."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.model_types import GEMMA4
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


class PromptTuning(Method):
    """Puts a few trainable word-like vectors before every input and leaves the whole model as it is.

    Equation: y = f([p₁ … p_k ; E(x)]), only the p are trained
    Paper: Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning, arXiv:2104.08691
    Good for: many small tasks over one big model: a task is a file of a few kilobytes.
    Cost: the virtual tokens lengthen every input; wants a high learning rate and many steps.
    Limits: weak on models under a billion parameters; never mergeable, not with packing.
    """

    title: ClassVar[str] = "Prompt tuning"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "soft prompt"
    order: ClassVar[int] = 20
    artefact_type: ClassVar[str] = "PROMPT_TUNING"
    learning_rate: ClassVar[float] = 3e-2
    # peft finds no width or no number of heads in their configs.
    unknown: ClassVar[tuple[str, ...]] = ("distilbert", "mamba", "falcon_mamba", *GEMMA4)
    prompt_learning: ClassVar[bool] = True

    name: Literal["prompt_tuning"] = option("prompt_tuning", "Method", "", hidden=True)
    virtual_tokens: int = option(
        20,
        "Virtual tokens",
        "How many trainable vectors stand before the input; 20–100 is usual.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    start: Literal["random", "vocabulary", "text"] = option(
        "vocabulary",
        "Start from",
        "What the vectors are at the start; real words are a better start than random numbers.",
        labels={"random": "Random numbers", "vocabulary": "Random words", "text": "A text"},
    )
    text: str = option(
        "", "Start text", "A sentence that describes the task; used when starting from a text.", max_length=2000
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import PromptTuningConfig, get_peft_model

        init = {"random": "RANDOM", "vocabulary": "SAMPLE_VOCAB", "text": "TEXT"}[self.start]
        config = PromptTuningConfig(
            task_type=setting.task_type,
            num_virtual_tokens=self.virtual_tokens,
            prompt_tuning_init=init,
            prompt_tuning_init_text=self.text if self.start == "text" else None,
            tokenizer_name_or_path=model.config._name_or_path if self.start == "text" else None,
        )
        return get_peft_model(model, config)

    def parameter_count(self, shape: Shape) -> int:
        """p·d for p virtual tokens of width d (Lester 2021, §2)."""
        return self.virtual_tokens * shape.hidden

    def refusal(self, shape, task, quantisation):
        if self.start == "text" and not self.text.strip():
            return Sentence(
                "Start text is empty; write a sentence that describes the task, or start from random words."
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} p={self.virtual_tokens}"

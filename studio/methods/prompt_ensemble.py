"""Prompt ensembling: several soft prompts, trained at once, whose predictions are combined."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method
from studio.models.model_types import GEMMA4
from studio.models.shape import Shape
from studio.options import option


class PromptEnsemble(Method):
    """Trains several prompts at once, each from its own start, and lets them answer together, as asking five people is safer than asking one.

    Equation: p(y|x) = 1/K · Σ_k f([P_k ; E(x)]), or the token that most members would say; each P_k learns from its own loss, their mean is the run's
    Paper: Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning, arXiv:2104.08691, §6
    Good for: steadier answers than one prompt, whose luck hangs on its start; an ensemble of models for the room of one.
    Cost: learning and answering take K times the work of prompt tuning, and K times the memory for what is calculated; the base is there once.
    Limits: the members differ by their starts only, so it helps less the more they agree; answers with words, has no head for classes; greedy or sampled answers, no beam search.
    """

    title: ClassVar[str] = "Prompt ensembling"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "soft prompt"
    order: ClassVar[int] = 21
    artefact_type: ClassVar[str] = "PROMPT_ENSEMBLE"  # saved with a stock PROMPT_TUNING adapter for each member
    learning_rate: ClassVar[float] = 3e-2
    unknown: ClassVar[tuple[str, ...]] = ("mamba", "falcon_mamba", "gemma3", "llama4", *GEMMA4)
    stock: ClassVar[bool] = False
    words_only: ClassVar[bool] = True

    name: Literal["prompt_ensemble"] = option("prompt_ensemble", "Method", "", hidden=True)
    members: int = option(
        5,
        "Members K",
        "How many prompts learn side by side; each one costs as much time and memory again.",
        ge=2,
        le=32,
    )
    virtual_tokens: int = option(
        20,
        "Virtual tokens",
        "How many trainable vectors each prompt puts before the input; 20–100 is usual.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    start: Literal["random", "vocabulary"] = option(
        "vocabulary",
        "Start from",
        "What the vectors are at the start, others for each member; real words are a better start than random numbers.",
        labels={"random": "Random numbers", "vocabulary": "Random words"},
    )
    combine: Literal["average", "vote"] = option(
        "average",
        "Answer together by",
        "At each token: the mean of what the members hold likely, or the token that most of them would say.",
        labels={"average": "Mean of the probabilities", "vote": "Vote"},
    )

    def wrap(self, model, setting=DEFAULT):
        import torch
        from peft import get_peft_model

        from studio.tuners import PromptEnsembleConfig

        if setting.task_type != "CAUSAL_LM":
            # `refusal` reports this to the user before a run starts.
            raise ValueError("Prompts that answer together have no head for classes.")
        table = model.get_input_embeddings()
        place = next(name for name, module in model.named_modules() if module is table)
        wrapped = get_peft_model(
            model,
            PromptEnsembleConfig(
                task_type=setting.task_type,
                target_modules=[place],
                members=self.members,
                num_virtual_tokens=self.virtual_tokens,
                combine=self.combine,
            ),
        )
        with torch.no_grad():
            for member, prompt in enumerate(model.get_input_embeddings().prompt_ensemble_members["default"]):
                chance = torch.Generator().manual_seed(setting.seed + member)
                if self.start == "vocabulary":
                    prompt.copy_(
                        table.weight[
                            torch.randint(len(table.weight), (len(prompt),), generator=chance).to(table.weight.device)
                        ]
                    )
                else:
                    prompt.copy_(torch.randn(prompt.shape, generator=chance))
        return wrapped

    def save(self, model, folder):
        from studio.tuners.ensemble import to_stock

        model.save_pretrained(folder, save_embedding_layers=False)
        to_stock(model, folder)

    def parameter_count(self, shape: Shape) -> int:
        """K·p·d for K prompts of p tokens of width d (Lester 2021, §6)."""
        return self.members * self.virtual_tokens * shape.hidden

    @property
    def rows(self) -> int:
        return self.members

    @property
    def input_tokens(self) -> int:
        return self.virtual_tokens

    def summary(self) -> str:
        return f"{self.title} K={self.members} p={self.virtual_tokens}"

"""Intrinsic Prompt Tuning: a low-dimensional vector, decoded by a trained network to a soft prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from studio.methods.base import DEFAULT, Method, Setting
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

_FEW = 2  # minimum number of prompts to find a subspace


class IntrinsicPromptTuning(Method):
    """Learns from several trained prompts what prompts have in common, and then trains a new task with only a handful of parameters.

    Equation: stage 1: min L_task(Dec(z)) + α·‖Dec(Enc(P_i)) − P_i‖²; stage 2: y = f([Dec(z) ; E(x)]), only z ∈ ℝᵈ is trained; Dec(z) = W₂ tanh(W₁z + b₁) + b₂
    Paper: Qin et al. 2021, Exploring Universal Intrinsic Task Subspace via Prompt Tuning, arXiv:2110.07867
    Good for: learning a task from few examples once several like it have been fine-tuned; the smallest delta of all.
    Cost: stage 1 needs trained prompts from the library and learns a small network; stage 2 learns d parameters, 5 to 250 of them.
    Limits: only as good as the prompts that it was found over: the paper used a hundred tasks, and on new ones 250 parameters kept 83 % of prompt tuning's quality.
    In the paper stage 1 also learns the tasks of all chosen prompts; here it learns that of its own data.
    """

    title: ClassVar[str] = "Intrinsic Prompt Tuning"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "soft prompt"
    order: ClassVar[int] = 25
    artefact_type: ClassVar[str] = "PROMPT_TUNING"
    learning_rate: ClassVar[float] = 3e-3
    prompt_learning: ClassVar[bool] = True

    name: Literal["intrinsic_prompt"] = option("intrinsic_prompt", "Method", "", hidden=True)
    stage: Literal["find", "train"] = option(
        "find",
        "Stage",
        "First find the subspace over trained prompts, then train a task inside it. Each is a run of its own.",
        labels={"find": "1: find the subspace", "train": "2: train inside it"},
    )
    prompts: list[str] = option(
        [],
        "Trained prompts",
        "Stage 1: the prompts of the library to find the subspace over; two at least, of one length.",
        adapters="PROMPT_TUNING",
    )
    subspace: str | None = option(
        None,
        "Subspace",
        "Stage 2: the adapter that stage 1 made.",
        adapters="PROMPT_TUNING",
        made_with={"stage": "find"},
    )
    virtual_tokens: int = option(
        20, "Virtual tokens", "Length of the prompts; as long as those that are chosen.", unit="tokens", ge=1, le=1024
    )
    intrinsic: int = option(
        5,
        "Intrinsic size d",
        "How many parameters stand for a task. 5 is the smallest that worked, 250 nearly as good as the whole prompt.",
        unit="parameters",
        ge=1,
        le=4096,
    )
    width: int = option(
        64, "Decoder width", "Hidden size of the network between parameters and prompt.", ge=1, le=8192, advanced=True
    )
    alpha: float = option(
        1.0,
        "Weight of the old prompts α",
        "Stage 1: how much giving the chosen prompts back counts beside the task.",
        ge=0,
        le=1000,
        advanced=True,
        search=SearchRange(factor=4, log=True),
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import PromptTuningConfig, get_peft_model

        prompt = self._prompt(setting)
        size = model.get_input_embeddings().embedding_dim
        if prompt.subspace.size != size:
            raise StudioError(
                "The chosen prompts are {given} numbers wide, but this model's words {needed}; choose prompts of this "
                "base model.",
                given=prompt.subspace.size,
                needed=size,
            )
        wrapped = get_peft_model(
            model,
            PromptTuningConfig(
                task_type=setting.task_type, num_virtual_tokens=self.virtual_tokens, prompt_tuning_init="RANDOM"
            ),
        )
        wrapped.prompt_encoder["default"].embedding = prompt.to(wrapped.device)
        return wrapped

    def _prompt(self, setting: Setting):
        """Build the module that replaces peft's embedding of virtual tokens.

        Raises StudioError if a chosen adapter is missing or does not match the options.
        """
        from studio.tuners import prompt_subspace

        if setting.adapter is None:
            raise StudioError("There is no library to take trained prompts from.")
        if self.stage == "find":
            return prompt_subspace.find(self._trained(setting), self.intrinsic, self.width)
        folder = setting.adapter(self.subspace)
        if not (folder / prompt_subspace.FILE).exists():
            raise StudioError("The chosen adapter holds no subspace; run stage 1 first and choose what it made.")
        try:
            found = prompt_subspace.load(folder, self.virtual_tokens)
        except ValueError as error:
            raise StudioError(
                "The subspace writes prompts of another length; set Virtual tokens as in stage 1."
            ) from error
        if len(found.numbers) != self.intrinsic:
            raise StudioError(
                "The subspace has {count} dimensions; set Intrinsic size to {count}.", count=len(found.numbers)
            )
        return found

    def _trained(self, setting: Setting) -> torch.Tensor:
        """Load the chosen prompts, [count, tokens, size]. Raises StudioError if their shapes do not match."""
        import torch
        from safetensors.torch import load_file

        found = [
            load_file(setting.adapter(each) / "adapter_model.safetensors")["prompt_embeddings"].float()
            for each in self.prompts
        ]
        for prompt in found:
            if len(prompt) != self.virtual_tokens:
                raise StudioError(
                    "A chosen prompt has {count} virtual tokens; choose prompts of one length, and set Virtual tokens "
                    "to it.",
                    count=len(prompt),
                )
        if len({prompt.shape for prompt in found}) > 1:
            raise StudioError("The chosen prompts belong to different models; choose prompts of one base model.")
        return torch.stack(found)

    def penalty(self, model):
        """Stage 1: α times the reconstruction error of the chosen prompts."""
        return self.alpha * model.prompt_encoder["default"].embedding.distance() if self.stage == "find" else None

    def save(self, model, folder):
        from studio.tuners import prompt_subspace

        model.save_pretrained(folder)
        if self.stage == "find":
            prompt_subspace.save(model.prompt_encoder["default"].embedding, folder)

    def parameter_count(self, shape: Shape) -> int:
        """d (Qin 2021, §3.3); in stage 1 also the encoder's and the decoder's parameters (§3.2)."""
        if self.stage == "train":
            return self.intrinsic
        long = self.virtual_tokens * shape.hidden
        return (
            self.intrinsic + (long + 1) * self.intrinsic + (self.intrinsic + 1) * self.width + (self.width + 1) * long
        )

    def unfinished(self):
        if self.stage == "find" and len(set(self.prompts)) < _FEW:
            return Sentence(
                "A subspace is found over two trained prompts or more; train some with Prompt tuning, then choose "
                "them here."
            )
        if self.stage == "train" and not self.subspace:
            return Sentence("No subspace is chosen; run stage 1 first, then choose the adapter that it made.")
        return None

    def summary(self) -> str:
        return f"{self.title} d={self.intrinsic}{', stage 1' if self.stage == 'find' else ''}"

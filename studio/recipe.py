"""The recipe: the complete, validated configuration of a run, which can be written as YAML.

Its parts are `model`, `data`, `task`, `method`, `training` and `machine`. Presets are recipes, and every run and every
adapter's card stores one; window and worker both validate them here. Independent of how a run is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from studio.data.data_spec import DataSpec
from studio.methods import METHODS, AnyMethod
from studio.migration import current_recipe
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.folder_checks import folder_refusal
from studio.models.shape import Shape
from studio.models.templates import OWN, TEMPLATES
from studio.options import Options, join, option, problems
from studio.tasks import TASKS, AnyTask
from studio.words import Sentence, StudioError


class BaseModelChoice(Options):
    """The base model that is fine-tuned."""

    name: str = option(
        "starter", "Base model", "starter, a local folder, or a hub id like Qwen/Qwen3-0.6B.", min_length=1
    )
    revision: str | None = option(
        None, "Revision", "Branch, tag or commit on the hub. Empty: the newest.", advanced=True
    )
    template: Literal[tuple(TEMPLATES)] = option(
        OWN,
        "Chat template",
        "How a conversation is written as one text. It is saved with the adapter, so that Chat and other tools use the "
        "same.",
        labels=TEMPLATES,
    )


_SHORTEST = 8  # smallest max sequence length, in tokens


class Training(Options):
    """Hyperparameters of training and evaluation."""

    learning_rate: float = option(
        2e-4,
        "Learning rate",
        "Size of each step. Too small learns nothing, too large breaks the model.",
        gt=0,
        le=10,
        group="What matters most",
    )
    epochs: float = option(
        3, "Epochs", "How many times all examples are seen.", unit="×", gt=0, le=1000, group="What matters most"
    )
    batch_size: int = option(
        8,
        "Batch size",
        "Examples looked at together; costs memory.",
        unit="examples",
        ge=1,
        le=4096,
        group="What matters most",
    )
    max_length: int = option(
        512,
        "Max sequence length",
        "Longer examples are cut here; the Data tab says how many.",
        unit="tokens",
        ge=_SHORTEST,
        le=1_048_576,
        group="What matters most",
    )
    max_steps: int | None = option(
        None,
        "Max steps",
        "Ends the run after so many optimiser steps. Empty: epochs decide.",
        unit="steps",
        ge=1,
        advanced=True,
        group="Length and batches",
    )
    gradient_accumulation_steps: int = option(
        1,
        "Accumulation",
        "Batches added up before a step. Effective batch size = batch size × accumulation.",
        unit="batches",
        ge=1,
        le=4096,
        advanced=True,
        group="Length and batches",
    )
    packing: bool = option(
        False,
        "Packing",
        "Put several examples into one row without padding. Exact or refused: a self-check compares both before the "
        "run.",
        advanced=True,
        group="Length and batches",
    )
    group_by_length: bool = option(
        True,
        "Group by length",
        "Batches of examples of like length: less padding, about twice the speed.",
        advanced=True,
        group="Length and batches",
    )
    seed: int = option(
        42,
        "Seed",
        "Same seed, same order of data, same start.",
        ge=0,
        le=2**31 - 1,
        advanced=True,
        group="Length and batches",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"] = option(
        "cosine",
        "Schedule",
        "How the learning rate changes over the run.",
        advanced=True,
        group="Optimiser",
        labels={
            "linear": "Linear to zero",
            "cosine": "Cosine to zero",
            "constant": "Constant",
            "polynomial": "Polynomial",
            "inverse_sqrt": "Inverse square root",
        },
    )
    warmup_ratio: float = option(
        0.05,
        "Warm-up",
        "Share of the run in which the learning rate climbs to its full size.",
        unit="of the run",
        ge=0,
        le=0.9,
        advanced=True,
        group="Optimiser",
    )
    optimiser: Literal["adamw", "sgd", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "lion_8bit"] = (
        option(
            "adamw",
            "Optimiser",
            "The rule that turns gradients into steps. 8-bit ones need a quarter of the memory.",
            advanced=True,
            group="Optimiser",
            labels={
                "adamw": "AdamW",
                "sgd": "SGD",
                "adamw_8bit": "AdamW, 8 bit",
                "paged_adamw": "AdamW, paged",
                "paged_adamw_8bit": "AdamW, paged, 8 bit",
                "adafactor": "Adafactor",
                "lion_8bit": "Lion, 8 bit",
            },
        )
    )
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Pulls trainable parameters towards zero at each step.",
        ge=0,
        le=1,
        advanced=True,
        group="Optimiser",
    )
    max_grad_norm: float = option(
        1.0,
        "Gradient clipping",
        "Longer gradients are shortened to this norm. 0: never.",
        ge=0,
        advanced=True,
        group="Optimiser",
    )
    evaluations: int = option(
        4,
        "Evaluations",
        "How often the validation set is looked at during the run; the last one is at the end. 0: never.",
        unit="times",
        ge=0,
        le=1000,
        advanced=True,
        group="Evaluation",
    )
    evaluation_rows: int = option(
        64,
        "Rows to answer",
        "Validation rows that the model answers at the end, for exact match.",
        unit="rows",
        ge=0,
        le=10_000,
        advanced=True,
        group="Evaluation",
    )
    sample_prompts: int = option(
        3,
        "Fixed prompts",
        "Validation prompts answered at each evaluation, so that you can read the progress.",
        unit="prompts",
        ge=0,
        le=16,
        advanced=True,
        group="Evaluation",
    )
    answer_length: int = option(
        96,
        "Answer length",
        "Answers at evaluations end after so many tokens.",
        unit="tokens",
        ge=1,
        le=4096,
        advanced=True,
        group="Evaluation",
    )
    early_stopping_patience: int | None = option(
        None,
        "Early stopping",
        "Ends the run when the validation loss has not improved in so many evaluations. Empty: never.",
        unit="evaluations",
        ge=1,
        le=100,
        advanced=True,
        group="Evaluation",
    )
    load_best_model_at_end: bool = option(
        False,
        "Keep the best",
        "At the end take the checkpoint with the lowest validation loss, not the last one.",
        advanced=True,
        group="Evaluation",
    )
    save_steps: int = option(
        50,
        "Checkpoint every",
        "A killed run continues from its last checkpoint.",
        unit="steps",
        ge=1,
        le=100_000,
        advanced=True,
        group="Evaluation",
    )

    @property
    def effective_batch(self) -> int:
        """Number of examples per optimiser step: batch size × gradient accumulation steps."""
        return self.batch_size * self.gradient_accumulation_steps


class Machine(Options):
    """Device, precision, quantisation and gradient checkpointing."""

    device: str = option(
        "auto",
        "Device",
        "auto takes the first free GPU, else the CPU. Or: cpu, cuda:0, cuda:1 …",
        pattern=r"auto|cpu|cuda:\d+",
        group="Machine",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        "Precision",
        "Numbers used in calculations. auto: bf16 where the GPU has it, fp32 on a CPU.",
        group="Machine",
        labels={"auto": "Automatic", "fp32": "32 bit", "bf16": "16 bit (bf16)", "fp16": "16 bit (fp16)"},
    )
    quantisation: Literal["none", "nf4", "int8"] = option(
        "none",
        "Quantisation",
        "Quantises the frozen base model: 4 bit needs a quarter of the memory.",
        group="Machine",
        labels={"none": "None", "nf4": "4 bit (NF4)", "int8": "8 bit (LLM.int8)"},
    )
    gradient_checkpointing: bool = option(
        False,
        "Gradient checkpointing",
        "Recalculates instead of remembering: much less memory, about a third slower.",
        group="Machine",
    )


class Recipe(Options):
    """The complete configuration of a run."""

    name: str = option("", "Name", "What you call this run; empty: made from the data and the method.", max_length=120)
    model: BaseModelChoice = Field(default_factory=BaseModelChoice)
    data: DataSpec = Field(default_factory=DataSpec)
    task: AnyTask = Field(default_factory=lambda: {"name": "chat"}, validate_default=True)
    method: AnyMethod = Field(default_factory=lambda: {"name": "lora"}, validate_default=True)
    training: Training = Field(default_factory=Training)
    machine: Machine = Field(default_factory=Machine)

    def tokenizer(self, folder: str | Path) -> ChatTokenizer:
        """The tokenizer in the model's `folder`, with the chat template and the data fixes of this recipe."""
        return ChatTokenizer(
            folder,
            self.model.template,
            system_rewrite=self.data.remedies.get("refused", ""),
            append_eos="no_end" in self.data.remedies,
        )

    @property
    def quantisation(self) -> str:
        """The quantisation of the base model: that of the method if it sets one, else that of `machine`."""
        return self.method.quantisation or self.machine.quantisation

    def model_refusal(self, shape: Shape, folder: Path) -> Sentence | None:
        """Why the model of `shape` in `folder` cannot be fine-tuned for the task; None if no reason is known."""
        return self.task.model_refusal(shape) or folder_refusal(
            folder, self.task.head(), own_template=self.task.uses_chat_template and self.model.template == OWN
        )

    def refusal(self, shape: Shape | None) -> Sentence | None:
        """Why method and task cannot be combined on a model of `shape` with this quantisation; None if they can."""
        return (
            self.method.refusal(shape, self.task.name, self.quantisation)
            or self.method.unfinished()
            or self.task.refusal(self)
        )

    def conflict(self) -> Sentence | None:
        """Why the method does not support gradient checkpointing or packing, where switched on; None if it does."""
        on = [
            what
            for what, switch in (
                ("gradient_checkpointing", self.machine.gradient_checkpointing),
                ("packing", self.training.packing),
            )
            if switch
        ]
        return next((reason for what in on if (reason := self.method.unsupported_reason(what))), None)

    def context_overflow(self, shape: Shape, longest: int) -> Sentence | None:
        """Why rows of up to `longest` tokens (before truncation) exceed the context of a model of `shape`, else None.

        Models with computed positions (such as RoPE) accept rows beyond their context, with decreasing quality. That is
        allowed, except together with virtual tokens.
        """
        taken, context, longest = (
            self.method.virtual_token_count,
            self.method.context(shape),
            min(longest, self.training.max_length),
        )
        if taken + longest <= context or not (taken or shape.has_learned_positions):
            return None
        if not taken:
            return Sentence(
                "Rows of up to {longest} tokens are more than this model reads; "
                "set Max sequence length to {most} or less.",
                longest=longest,
                most=context,
            )
        most = context - longest if longest < context else context // 2
        return Sentence(
            "{taken} virtual tokens and rows of up to {longest} tokens are more than the {context} that this model "
            "reads; set {option} to {most} or less.",
            taken=taken,
            longest=longest,
            context=context,
            **(
                {"option": Sentence("Max sequence length"), "most": context - taken}
                if context - taken >= _SHORTEST
                else {"option": Sentence("Virtual tokens"), "most": most}
            ),
        )

    def to_dict(self) -> dict:
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def recipe_from(values: Any, source: str = "recipe") -> Recipe:
    """Validate `values` (parsed YAML or JSON) as a recipe. Raises `StudioError`, which names every invalid field."""
    if not isinstance(values, dict):
        raise StudioError(
            "{source} is not a recipe: it must be a YAML mapping with model, data, task, method, training, machine.",
            source=source,
        )
    try:
        return Recipe.model_validate(current_recipe(values))
    except ValidationError as error:
        chosen = {
            part: offered.get(_name(values.get(part))) for part, offered in (("method", METHODS), ("task", TASKS))
        }
        wrong = [
            Sentence("{place}: {sentence}", place=place, sentence=sentence)
            for place, sentence in problems(Recipe, error, chosen).items()
        ]
        raise StudioError(join(wrong)) from error


def valid_parts(values: dict) -> tuple[Recipe, frozenset[str]]:
    """(recipe of `values` in which every invalid part is replaced by its default, names of the invalid parts)."""
    try:
        return Recipe.model_validate(values), frozenset()
    except ValidationError as error:
        wrong = frozenset(str(item["loc"][0]) for item in error.errors())
        return Recipe.model_validate({part: value for part, value in values.items() if part not in wrong}), wrong


def _name(part: Any) -> str:
    """The name of a method or task in a recipe, where it is either a mapping with a `name` or the name alone."""
    return str(part.get("name") if isinstance(part, dict) else part)


def recipe_from_yaml(text: str, source: str = "recipe") -> Recipe:
    """Parse a recipe from YAML text; missing parts take their defaults, and a `preset:` heading is ignored."""
    try:
        values = yaml.safe_load(text)
        if isinstance(values, dict):
            values.pop("preset", None)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise StudioError(
            "{source} is not valid YAML (line {line}); correct that line.",
            source=source,
            line=mark.line + 1 if mark else "?",
        ) from error
    return recipe_from(values, source)


__all__ = [
    "METHODS",
    "BaseModelChoice",
    "Machine",
    "Recipe",
    "Training",
    "recipe_from",
    "recipe_from_yaml",
    "valid_parts",
]

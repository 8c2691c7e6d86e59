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
from studio.training_options import SHORTEST, Machine, Training
from studio.words import Sentence, StudioError
from studio.yaml_text import parse_yaml


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
    adapter: str | None = option(
        None,
        "Continue from",
        "Id of an adapter in the library whose weights training starts from. Empty: it starts anew.",
        hidden=True,
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
                if context - taken >= SHORTEST
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
    values = parse_yaml(text, source)
    if isinstance(values, dict):
        values.pop("preset", None)
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

"""Base class of the fine-tuning methods: options, a card that describes the method, and how it wraps a model.

A method is one file with one class. Its pydantic fields are its options. Its docstring is its card: the idea in one
sentence, then lines "Equation:", "Paper:", "Good for:", "Cost:", "Limits:". Methods import torch and peft only inside
the functions that the training worker calls, because the user interface imports the classes to show their cards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from studio.methods import capabilities
from studio.models.shape import Shape, target_names
from studio.options import Options
from studio.words import Sentence

if TYPE_CHECKING:
    import torch

FAMILIES = {
    "baseline": "Baseline",
    "additive": "Additive",
    "selective": "Selective",
    "reparameterised": "Reparameterised",
    "hybrid": "Hybrid",
}
_LINES = {"Equation": "equation", "Paper": "paper", "Good for": "good_for", "Cost": "cost", "Limits": "limits"}


@dataclass(frozen=True)
class Card:
    """The description of a method for newcomers. All texts are English and are translated for display."""

    idea: str
    equation: str
    paper: str
    good_for: str
    cost: str
    limits: str


@dataclass(frozen=True)
class Setting:
    """The context of a run that its method may use. Identical when the run is resumed.

    task_type: peft's task type. total_steps: number of optimiser steps. base: folder of the base model, tokenizer
    included. batches(n): the first n training batches on the model's device, as keyword arguments of the model's
    forward, whose `.loss` is the run's loss. adapter(id): folder of an adapter in the library; raises StudioError if
    there is none. once(name, make): the result of `make()` (JSON), computed once per run and cached, so that a resumed
    run uses the same values instead of measuring slightly different ones.
    """

    task_type: str = "CAUSAL_LM"
    total_steps: int = 1
    seed: int = 42
    base: Path | None = None
    batches: Callable[[int], list[dict]] | None = None
    adapter: Callable[[str], Path] | None = None
    once: Callable[[str, Callable[[], Any]], Any] = field(default=lambda name, make: make())


DEFAULT = Setting()


class Method(Options):
    """Base class of all methods."""

    title: ClassVar[str]
    family: ClassVar[str]
    branch: ClassVar[str] = ""  # sub-category of the family as the surveys name it, "" if none
    order: ClassVar[int] = 100
    artefact_type: ClassVar[str]  # PEFT type of the saved adapter, or "model" for a full model
    tasks: ClassVar[tuple[str, ...]] = ("chat", "text", "preference", "feedback")
    learning_rate: ClassVar[float] = 2e-4  # default for models of a billion parameters or more
    quantisation: ClassVar[str | None] = None  # quantisation that the method prescribes, if any
    prompt_learning: ClassVar[bool] = False  # whether virtual tokens are prepended to the input
    words_only: ClassVar[bool] = False  # True if it cannot train a classification head
    stock: ClassVar[bool] = True  # False if loading the saved adapter needs `studio.tuners` besides peft
    unknown: ClassVar[tuple[str, ...]] = ()  # model types that it does not support
    # False if it copies or replaces layers whose weights a state space mixer (Mamba) reads directly, see `Shape.fused`.
    adapts_mixers: ClassVar[bool] = True
    leaves_base_unchanged: ClassVar[bool] = True  # whether disabling the delta restores the base model's outputs

    def wrap(self, model: torch.nn.Module, setting: Setting = DEFAULT) -> torch.nn.Module:
        """Return the model with this method's delta added. Only the trainable parameters have `requires_grad`.

        Called again when a run is resumed, before the trained parameters are loaded; must build the same model.
        """
        raise TypeError(f"{type(self).__name__} does not say how it wraps a model")

    def optimizer(self, model: torch.nn.Module, cls: type, arguments: dict[str, Any]) -> torch.optim.Optimizer | None:
        """Create the method's own optimiser for `model`, or return None to use the default one.

        cls, arguments: class and keyword arguments (lr, weight_decay, betas, …) of the run's optimiser.
        """
        return None

    def callbacks(self, setting: Setting = DEFAULT) -> list:
        """The transformers `TrainerCallback`s that the method needs. They receive the wrapped model as `model`."""
        return []

    def penalty(self, model: torch.nn.Module) -> torch.Tensor | None:
        """A regularisation term (scalar), whose gradient is added once per optimiser step; None if there is none."""
        return None

    def state(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Tensors that a checkpoint must hold to resume, besides the trainable parameters and the optimiser state."""
        return {}

    def load_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""

    def finish(self, model: torch.nn.Module, base: Path) -> None:
        """Convert the trained model in place to the form that `save` writes, so that this form is evaluated.

        base: folder of the base model.
        """

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """Write the artefact named by `artefact_type` to `folder`.

        Loaded by `PeftModel.from_pretrained`, it must give the same logits.
        """
        model.save_pretrained(folder)

    @property
    def rows(self) -> int:
        """Number of rows that the model processes for each row of a batch, for the forecast."""
        return 1

    @property
    def input_tokens(self) -> int:
        """Number of virtual tokens prepended to each input, for the forecast."""
        return getattr(self, "virtual_tokens", 0) if self.prompt_learning else 0

    @property
    def virtual_token_count(self) -> int:
        """Number of positions of the model's context that virtual tokens occupy before the first token of a row."""
        return self.input_tokens

    def context(self, shape: Shape) -> int:
        """Context length, in tokens, of a model of `shape` with this method."""
        return shape.context

    def parameter_count(self, shape: Shape) -> int:
        """Number of trainable parameters on a model of `shape`, by the paper's formula."""
        raise TypeError(f"{type(self).__name__} does not say how many parameters it learns")

    def unsupported_reason(self, what: str) -> Sentence | None:
        """Why this method with these options does not support `what` (key of `capabilities.CAPABILITIES`), or None."""
        found = capabilities.cell(self.name, what)
        return None if found == capabilities.YES else capabilities.unsupported_sentence(self.title, what, found)

    def refusal(self, shape: Shape | None, task: str, quantisation: str) -> Sentence | None:
        """Why this method cannot be used with the model, task or quantisation; None if it can."""
        if shape is not None and (shape.model_type in self.unknown or shape.fused and not self.adapts_mixers):
            return Sentence(
                "{method} does not know the layers of {architecture}; choose LoRA.",
                method=Sentence(self.title),
                architecture=shape.architecture,
            )
        if task in capabilities.TASKS:
            if sentence := self.unsupported_reason(capabilities.TASKS[task]):
                return sentence
        elif task not in self.tasks:
            return Sentence("{method} cannot be used for the task '{task}'.", method=Sentence(self.title), task=task)
        if quantisation != "none" and shape is not None and shape.stored_as:
            return Sentence(
                "{architecture} is stored in MXFP4 and becomes 16 bit while it is loaded, so it cannot be quantised "
                "in another way as well; choose LoRA, with quantisation off.",
                architecture=shape.architecture,
            )
        return self.unsupported_reason(quantisation) if quantisation != "none" else None

    def remark(self, shape: Shape) -> Sentence | None:
        """A note for the user on this method with these options on a model of `shape`; None if there is none.

        Unlike a refusal, it does not prevent the run.
        """
        if not hasattr(self, "targets"):
            return None
        if shape.experts and shape.stored_as:
            return Sentence(
                "{architecture} is a mixture of experts. Its experts are stored in MXFP4, become 16 bit while they "
                "are loaded, and stay as they are; the layers outside them are trained.",
                architecture=shape.architecture,
            )
        if shape.experts:
            return Sentence(
                "{architecture} is a mixture of experts. Its experts stay as they are; the layers outside them are trained.",
                architecture=shape.architecture,
            )
        idle = (
            []
            if self.targets in ("attention", type(self).model_fields["targets"].default)
            else [name for name in target_names(self.targets) or () if not shape.targets(name)]
        )
        return (
            Sentence(
                "No layer of {architecture} is called {names}, so nothing is trained there.",
                architecture=shape.architecture,
                names=", ".join(idle),
            )
            if idle
            else None
        )

    def unfinished(self) -> Sentence | None:
        """Which option must still be set before a run can start; None if none.

        Unlike after a refusal, the method can still be selected.
        """
        return None

    def merge_refusal(self) -> Sentence | None:
        """Why a model fine-tuned by this method cannot be merged into the base model; None if it can."""
        return self.unsupported_reason("merge")

    def summary(self) -> str:
        """A short label of the method and its main options, such as "LoRA r=8"."""
        return self.title

    @classmethod
    def card(cls) -> Card:
        return parse_card(inspect.getdoc(cls) or "")


def no_target(shape: Shape | None, targets: str) -> Sentence | None:
    """Why `targets` cannot be used on a model of `shape` (they match no layer); None if they can."""
    if shape is None or shape.targets(targets):
        return None
    present = sorted({name.rsplit(".", 1)[-1] for name in shape.linear_layers})
    if not present:
        return Sentence(
            "This model has no layer that a delta can be laid beside; choose full fine-tuning or another model."
        )
    return Sentence(
        "Target modules '{targets}' match no layer of this model; use all-linear, or names such as {some}.",
        targets=targets,
        some=", ".join(present[:6]),
    )


def parse_card(text: str) -> Card:
    """Parse a docstring in the format described in the module docstring. Raises ValueError if a line is missing."""
    parts: dict[str, str] = {}
    key = "idea"
    for line in text.splitlines():
        head, _, rest = line.partition(":")
        if head in _LINES:
            key, line = _LINES[head], rest
        parts[key] = f"{parts.get(key, '')} {line.strip()}".strip()
    missing = {"idea", *_LINES.values()} - set(parts)
    if missing:
        raise ValueError(f"a method's docstring lacks {sorted(missing)}")
    return Card(**parts)

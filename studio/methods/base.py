"""What a method of training is: options, a card that explains it, and how it wraps a model.

A method is one file with one class. Its pydantic fields are its options; its docstring is its card: first the idea in
one sentence, then lines "Equation:", "Paper:", "Good for:", "Cost:", "Limits:". Methods import torch and peft only
inside the functions that a worker calls, because the window reads the cards too.
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
    """A method explained to a newcomer; every text is English and translatable."""

    idea: str
    equation: str
    paper: str
    good_for: str
    cost: str
    limits: str


@dataclass(frozen=True)
class Setting:
    """What a run tells its method. All of it is the same again when the run is resumed.

    batches(n): the first n training batches on the model's device, as keyword arguments of a model's forward, whose `.loss`
    is the run's loss. adapter(id): folder of an adapter on the shelf; raises StudioError where there is none.
    once(name, make): what `make()` gave (JSON) when the run first asked for it, so that what was measured before the first
    step is not measured again, a little differently, when the run is resumed.
    """

    task_type: str = "CAUSAL_LM"  # peft's name
    total_steps: int = 1
    seed: int = 42
    base: Path | None = None  # the base model's folder, tokenizer included
    batches: Callable[[int], list[dict]] | None = None
    adapter: Callable[[str], Path] | None = None
    once: Callable[[str, Callable[[], Any]], Any] = field(default=lambda name, make: make())


DEFAULT = Setting()


class Method(Options):
    """Base of all methods."""

    title: ClassVar[str]
    family: ClassVar[str]
    branch: ClassVar[str] = ""  # of the family, in the surveys' words; "" where it has none
    order: ClassVar[int] = 100
    ships_as: ClassVar[str]  # the stock PEFT type that other tools load, or "model"
    tasks: ClassVar[tuple[str, ...]] = ("chat", "text", "preference", "feedback")
    learning_rate: ClassVar[float] = 2e-4  # a good start for models of a billion parameters and more
    quantisation: ClassVar[str | None] = None  # set where the method brings its own
    prompt_learning: ClassVar[bool] = False  # virtual tokens before the input
    words_only: ClassVar[bool] = False  # True where it cannot train a head for classes
    stock: ClassVar[bool] = True  # False where what it ships needs `studio.tuners` beside peft
    unknown: ClassVar[tuple[str, ...]] = ()  # model types with layers of their own that it cannot be laid over
    adapts_mixers: ClassVar[bool] = (
        True  # False where it copies or replaces layers whose weights a state space mixer (Mamba) reads itself
    )
    leaves_base_unchanged: ClassVar[bool] = True  # switching the delta off gives the base model's answers back

    def wrap(self, model: torch.nn.Module, setting: Setting = DEFAULT) -> torch.nn.Module:
        """The model with this method's delta in it; only what is to be learnt has `requires_grad`.

        Called again when a run is resumed, and must then build the same; what it learnt is put back after that.
        """
        raise TypeError(f"{type(self).__name__} does not say how it wraps a model")

    def optimizer(self, model: torch.nn.Module, cls: type, arguments: dict[str, Any]) -> torch.optim.Optimizer | None:
        """An optimiser of its own over `model`, of class `cls` with `arguments` (lr, weight_decay, betas, …); None for the usual one."""
        return None

    def callbacks(self, setting: Setting = DEFAULT) -> list:
        """transformers `TrainerCallback`s that the method needs; they get the wrapped model as `model`."""
        return []

    def penalty(self, model: torch.nn.Module) -> torch.Tensor | None:
        """A scalar whose gradient is added to the loss's at each optimiser step (a price on open gates, say); None for none."""
        return None

    def state(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """What a checkpoint must hold beside the learnt tensors and the optimiser for a resumed run to go on the same."""
        return {}

    def load_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Put back what `state` gave."""

    def finish(self, model: torch.nn.Module, base: Path) -> None:
        """Bring a model that has learnt into the very form that `save` writes, so that what is measured is what is saved. base: the base model's folder."""

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """Write the artefact named by `ships_as` into `folder`; `PeftModel.from_pretrained` must give the same logits from it."""
        model.save_pretrained(folder)

    @property
    def rows(self) -> int:
        """How many rows a row of a batch becomes in the model, as the forecast counts."""
        return 1

    @property
    def input_tokens(self) -> int:
        """How many tokens stand before each input, as the forecast counts."""
        return getattr(self, "virtual_tokens", 0) if self.prompt_learning else 0

    @property
    def virtual_token_count(self) -> int:
        """How many places of the model's context are taken before the first token of a row."""
        return self.input_tokens

    def context(self, shape: Shape) -> int:
        """How many tokens a model of `shape` reads once this method is laid over it."""
        return shape.context

    def parameter_count(self, shape: Shape) -> int:
        """How many parameters are learnt on a model of `shape`, by the paper's formula."""
        raise TypeError(f"{type(self).__name__} does not say how many parameters it learns")

    def unsupported_reason(self, what: str) -> Sentence | None:
        """Why this method, with these options, does not go with `what` (a key of `capabilities.CAPABILITIES`); None if it does."""
        found = capabilities.cell(self.name, what)
        return None if found == capabilities.YES else capabilities.unsupported_sentence(self.title, what, found)

    def refusal(self, shape: Shape | None, task: str, quantisation: str) -> Sentence | None:
        """Why this method cannot serve the model, task or quantisation; None if it can."""
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
                "{architecture} is stored in MXFP4 and becomes 16 bit while it is loaded, so it cannot be quantised in another way as well; choose LoRA, with quantisation off.",
                architecture=shape.architecture,
            )
        return self.unsupported_reason(quantisation) if quantisation != "none" else None

    def remark(self, shape: Shape) -> Sentence | None:
        """What a person should know about this method, with these options, on a model of `shape`, though nothing bars it; None where nothing."""
        if not hasattr(self, "targets"):
            return None
        if shape.experts and shape.stored_as:
            return Sentence(
                "{architecture} is a mixture of experts. Its experts are stored in MXFP4, become 16 bit while they are loaded, and stay as they are; the layers outside them learn.",
                architecture=shape.architecture,
            )
        if shape.experts:
            return Sentence(
                "{architecture} is a mixture of experts. Its experts stay as they are; the layers outside them learn.",
                architecture=shape.architecture,
            )
        idle = (
            []
            if self.targets in ("attention", type(self).model_fields["targets"].default)
            else [name for name in target_names(self.targets) or () if not shape.targets(name)]
        )
        return (
            Sentence(
                "No layer of {architecture} is called {names}, so nothing is learnt there.",
                architecture=shape.architecture,
                names=", ".join(idle),
            )
            if idle
            else None
        )

    def unfinished(self) -> Sentence | None:
        """What must still be chosen before a run can start; None where nothing. Unlike a refusal it does not bar the method's card."""
        return None

    def merge_refusal(self) -> Sentence | None:
        """Why what this method fine-tuned cannot be merged into the base model; None if it can."""
        return self.unsupported_reason("merge")

    def summary(self) -> str:
        """The method in a few characters, as in "LoRA r=8"."""
        return self.title

    @classmethod
    def card(cls) -> Card:
        return parse_card(inspect.getdoc(cls) or "")


def no_target(shape: Shape | None, targets: str) -> Sentence | None:
    """Why `targets` cannot be used on a model of `shape`; None if they can."""
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
    """A docstring in the form described above as a `Card`; raises ValueError where a line is missing."""
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

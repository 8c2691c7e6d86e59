"""Base class of the methods that train a sparse set of single weights in each layer, selected by a score.

They use peft's SHiRA, which stores r·(input + output) indices per layer and the values added there. The mask is
computed once, before the first step, and saved in checkpoints, so that a resumed run uses the same one on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from studio.methods.base import DEFAULT, Setting
from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option
from studio.words import Sentence

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label of a token that is ignored in the loss


class Masked(Targeted):
    """Base class of the methods that train single weights."""

    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "unstructured mask"
    artefact_type: ClassVar[str] = "SHIRA"

    rank: int = option(
        8,
        "Rank r",
        "How many weights are picked: as many as a LoRA of this rank has parameters.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )

    def scores(self, model: torch.nn.Module, setting: Setting) -> Callable[[torch.nn.Module], torch.Tensor] | None:
        """A function layer → scores [output, input]; the highest are trained. None selects a random mask."""
        raise TypeError(f"{type(self).__name__} does not say how it picks weights")

    def config(self, setting):
        from peft import ShiraConfig

        return ShiraConfig(**self.placed(setting), r=self.rank, random_seed=setting.seed)

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        config, scores = self.config(setting), self.scores(model, setting)
        if scores:
            config.mask_type = getattr(self, "mask", self.name)
            config.mask_fn = lambda layer, rank, **_: highest(scores(layer), rank * sum(scores(layer).shape))
        return get_peft_model(model, config)

    def state(self, model):
        return {name: layer.shira_indices["default"] for name, layer in _masked(model)}

    def load_state(self, model, state):
        for name, layer in _masked(model):
            layer.shira_indices["default"] = state[name].to(layer.shira_indices["default"].device)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r·(input + output) over the target layers, as for LoRA (Bhardwaj 2024, §4)."""
        return sum(self.rank * (inputs + outputs) for inputs, outputs in self.sizes(shape))

    def refusal(self, shape, task, quantisation):
        most = (
            min((inputs * outputs // (inputs + outputs) for inputs, outputs in self.sizes(shape)), default=self.rank)
            if shape
            else self.rank
        )
        if self.rank > most:
            return Sentence(
                "Rank r is {rank}, but the smallest layer has fewer weights than that would pick; use {most} or less.",
                rank=self.rank,
                most=most,
            )
        return super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"


def _masked(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    return [
        (name, module) for name, module in model.named_modules() if "default" in getattr(module, "shira_indices", ())
    ]


def highest(score: torch.Tensor, count: int) -> torch.Tensor:
    """A mask of the shape of `score` with ones at its `count` largest elements."""
    import torch

    return torch.zeros_like(score).view(-1).scatter_(0, score.flatten().topk(count).indices, 1.0).view(score.shape)


def magnitudes(layer: torch.nn.Module) -> torch.Tensor:
    """Absolute values [output, input] of the weights of a linear layer, which may be quantised."""
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(layer).detach().float().abs()


def from_gradients(
    model: torch.nn.Module, layers: Iterable[torch.nn.Module], batches: list[dict], *, fisher: bool
) -> Callable[[torch.nn.Module], torch.Tensor]:
    """Score weights by their gradients over `batches`; return a function layer → scores [output, input] for `layers`.

    The score is |Σ gradient|, or with `fisher` the diagonal of the empirical Fisher information, the mean over the
    examples of (∂ log p(answer | question) / ∂w)² (Sung 2021, eq. 3), times the number of examples. The gradients are
    computed from the layers' inputs and output gradients, so the weights may be frozen and quantised.
    """
    import torch

    found: dict[torch.nn.Module, torch.Tensor] = {}
    inputs: dict[torch.nn.Module, torch.Tensor] = {}
    tokens, rows = 1, 1

    def forth(layer, given, output):
        inputs[layer] = given[0].detach()
        # Not a backward hook on the layer, which would forbid the in-place addition to its output that Falcon does.
        output.register_hook(partial(back, layer))

    def back(layer, grad):
        # OPT flattens the rows of a batch into one before its MLP.
        got, came = (part.float().reshape(rows, -1, part.shape[-1]) for part in (grad, inputs.pop(layer)))
        pairs = zip(got, came, strict=True) if fisher else [(got, came)]
        for one, other in pairs:
            # Multiplied by `tokens`, since the loss is a mean over the labelled tokens, or over the examples.
            gradient = one.reshape(-1, one.shape[-1]).T @ other.reshape(-1, other.shape[-1]) * tokens
            found[layer] = found.get(layer, 0) + (gradient.square() if fisher else gradient)

    hooks = [layer.register_forward_hook(forth) for layer in layers]
    # Without this autograd would record nothing, since all parameters are frozen.
    hooks.append(model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_(True)))
    was_training = model.training
    try:
        model.eval()
        for batch in batches:
            labels = batch["labels"]
            rows = len(labels)
            tokens = int((labels[:, 1:] != IGNORED).sum()) if labels.dim() == 2 else len(labels)
            with torch.enable_grad():
                model(**batch).loss.backward()
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return lambda layer: found[layer].abs()


def looked_at(setting: Setting, count: int) -> list[dict]:
    """The first `count` training batches. Raises ValueError if the run provides none."""
    if setting.batches is None:
        raise ValueError("this method picks weights by the training data, and the run gave it none")
    return setting.batches(count)

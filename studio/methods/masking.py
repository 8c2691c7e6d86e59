"""What the methods share that change a few single weights of each layer, picked by a score, and leave the rest as it is.

peft's SHiRA holds them: for each layer r·(input + output) places and what is added there. A mask is found once, before the
first step; checkpoints hold it, so that a resumed run goes on with the same places on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from studio.methods.base import DEFAULT, Setting
from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence

if TYPE_CHECKING:
    import torch

IGNORED = -100  # a label that is not learnt


class Masked(Targeted):
    """Base of the methods that pick single weights."""

    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "unstructured mask"
    ships_as: ClassVar[str] = "SHIRA"

    rank: int = option(
        8, "Rank r", "How many weights are picked: as many as a LoRA of this rank has parameters.", ge=1, le=512
    )

    def scores(self, model: torch.nn.Module, setting: Setting) -> Callable[[torch.nn.Module], torch.Tensor] | None:
        """Layer → a score for each of its weights (output × input), the highest of which are picked; None for picking at random."""
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
        """Σ r·(input + output) over the target layers, as many as LoRA has (Bhardwaj 2024, §4)."""
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
    """A mask of the form of `score` with ones at its `count` highest places."""
    import torch

    return torch.zeros_like(score).view(-1).scatter_(0, score.flatten().topk(count).indices, 1.0).view(score.shape)


def magnitudes(layer: torch.nn.Module) -> torch.Tensor:
    """How large each weight of a linear layer is (output × input), also where it is quantised."""
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(layer).detach().float().abs()


def from_gradients(
    model: torch.nn.Module, layers: Iterable[torch.nn.Module], batches: list[dict], *, fisher: bool
) -> Callable[[torch.nn.Module], torch.Tensor]:
    """Each of the `layers` of `model` → |Σ gradient| of each weight over `batches`, or with `fisher` the diagonal of the empirical Fisher information.

    The latter is the mean over the examples of (∂ log p(answer | question) / ∂w)² (Sung 2021, eq. 3). The gradients are worked out from what
    goes into and comes back to each layer, so the weights may be frozen and quantised.
    """
    import torch

    found: dict[torch.nn.Module, torch.Tensor] = {}
    inputs: dict[torch.nn.Module, torch.Tensor] = {}
    tokens, rows = 1, 1

    def forth(layer, given, output):
        inputs[layer] = given[0].detach()
        output.register_hook(
            partial(back, layer)
        )  # a hook on the layer would forbid what Falcon does: to add in place to what it gave

    def back(layer, grad):
        # OPT lays all rows of a batch in one before its MLP.
        got, came = (part.float().reshape(rows, -1, part.shape[-1]) for part in (grad, inputs.pop(layer)))
        pairs = zip(got, came, strict=True) if fisher else [(got, came)]
        for one, other in pairs:
            gradient = (
                one.reshape(-1, one.shape[-1]).T @ other.reshape(-1, other.shape[-1]) * tokens
            )  # the loss is a mean over the learnt tokens, or over the examples
            found[layer] = found.get(layer, 0) + (gradient.square() if fisher else gradient)

    hooks = [layer.register_forward_hook(forth) for layer in layers]
    hooks.append(
        model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    )  # frozen as it is, the model would remember nothing
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
    """The first `count` training batches; ValueError where the run gives none."""
    if setting.batches is None:
        raise ValueError("this method picks weights by the training data, and the run gave it none")
    return setting.batches(count)

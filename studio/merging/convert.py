"""Turn an adapter into stock LoRA: what it changes in each weight, ΔW, factored into two thin matrices.

ΔW is measured: each adapted layer is merged in float64, and what its weight was is subtracted. So every method that can
be merged is converted by the same few lines: exactly where its ΔW has a low rank (VeRA, LoHa, MiSS, …), else to the
closest LoRA of the rank that is chosen. A LoRA of lower rank is made in the same way. What a LoRA cannot hold (biases,
norms, virtual tokens) is refused. Options and refusals import no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from studio.merging import lora_delta
from studio.merging.lora_delta import PREFIX, Approximation, Rank, factor_dense
from studio.methods import METHODS, capabilities
from studio.models.rope_scaling import ROPE_FILE
from studio.options import Options, option
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE")
_TRAIN_BIASES = ("BITFIT", "BEFT")  # types whose deltas are biases
_HEADS = ("score", "classifier")  # classification heads, which are saved whole beside any LoRA
_COMPANIONS = (ROPE_FILE, "chat_template.jinja")


class ConvertOptions(Options):
    """Which part of an adapter's weight changes the LoRA keeps."""

    rank: int = option(64, "Largest rank r", "No layer gets more than this rank.", ge=1, le=512)
    energy: float = option(
        99.99,
        "Share of the change to keep",
        "Each layer gets the smallest rank that holds this share of its squared weight changes; 100 keeps all of it. "
        "With 99.99 a layer's error is at most 1 %, where the largest rank allows it.",
        unit="%",
        gt=0,
        le=100,
    )


def refusal(folder: Path, card: dict, name: str) -> Sentence | None:
    """Why this adapter cannot become a LoRA, as far as its card and configuration tell; None if it may.

    Raises StudioError where adapter_config.json cannot be read. Imports no torch.
    """
    if card.get("kind") == "model":
        return Sentence("“{name}” is a whole model; only adapters can be converted.", name=name)
    if sentence := unmergeable(card, name):
        return sentence
    config = lora_delta.read_config(folder, name)
    if config.get("peft_type") in _PROMPTS:
        return _unmergeable(name, "input")
    if config.get("peft_type") in _TRAIN_BIASES or config.get("bias", "none") != "none":
        return Sentence("“{name}” also trains biases, which a LoRA cannot hold.", name=name)
    return None


def unmergeable(card: dict, name: str) -> Sentence | None:
    """Why no weight of the base model can hold what this adapter does; None where its method can be merged, or is not
    known here.
    """
    reason = capabilities.cell(card["method"], "merge") if card.get("method") in METHODS else capabilities.YES
    return None if reason == capabilities.YES else _unmergeable(name, reason)


def _unmergeable(name: str, reason: str) -> Sentence:
    return Sentence(
        "“{name}” cannot become a change of weights: {reason}", name=name, reason=Sentence(capabilities.REASONS[reason])
    )


def convert(
    model: torch.nn.Module,
    source: Path,
    name: str,
    options: ConvertOptions,
    target: Path,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Approximation]:
    """Write the adapter `source` that is active in the PEFT `model` to `target` as stock LoRA; returns layer → what was
    kept. The model's weights are changed meanwhile, so it cannot be used afterwards.

    progress: called after each layer with (done, count). Raises StudioError where the adapter changes something that a
    LoRA cannot hold.
    """
    import torch

    rank = Rank(options.rank, options.energy / 100)
    names = _adapted_layers(model, name)
    made: dict[str, Approximation] = {}
    transposed = False
    for at, layer in enumerate(names):
        delta, kind = _weight_change(model.get_submodule(PREFIX + layer), layer, name)
        made[layer] = factor_dense(delta, rank, embedding=kind is torch.nn.Embedding)
        transposed |= kind.__name__ == "Conv1D"
        progress(at + 1, len(names))
    lora_delta.write_lora(
        target,
        {layer: one.factors for layer, one in made.items()},
        base=model.active_peft_config.base_model_name_or_path or "",
        task_type=model.active_peft_config.task_type,
        fan_in_fan_out=transposed,
        whole=dict(_heads(source)),
    )
    for file in _COMPANIONS:
        if (source / file).exists():
            (target / file).write_bytes((source / file).read_bytes())
    return made


def _adapted_layers(model: torch.nn.Module, name: str) -> list[str]:
    """Names of the layers that the adapter changes. Raises StudioError where it replaces other modules as a whole."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    found = []
    for path, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper) and path.rpartition(".")[2] not in _HEADS:
            raise StudioError(
                "“{name}” also brings weights that are saved whole, such as {tensor}, which a LoRA cannot hold.",
                name=name,
                tensor=path.removeprefix(PREFIX),
            )
        if isinstance(module, BaseTunerLayer):
            found.append(path.removeprefix(PREFIX))
    if not found:
        raise StudioError("“{name}” changes no layer of its base model.", name=name)
    return found


def _weight_change(layer, path: str, name: str) -> tuple[torch.Tensor, type]:
    """(ΔW [output, input] in float64, type of the base layer) of a tuner layer, which is merged for it. Of an embedding
    the transpose of its ΔW.

    Merging in float32 would leave rounding errors of W, not of ΔW, and so hide a low rank.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    layer.to(torch.float64)
    before = {key: one.detach().clone() for key, one in layer.get_base_layer().named_parameters()}
    layer.merge()
    base = layer.get_base_layer()
    after = dict(base.named_parameters())
    kind = next((cls for cls in (torch.nn.Linear, torch.nn.Embedding, Conv1D) if isinstance(base, cls)), None)
    other = [key for key in after if key != "weight" and not torch.equal(after[key], before.get(key, after[key] + 1))]
    if kind is None or other:
        raise StudioError(
            "“{name}” changes {what} of {layer}, which a LoRA cannot hold.",
            name=name,
            what=Sentence("the bias") if other else Sentence("the weights"),
            layer=path,
        )
    delta = after["weight"].detach() - before["weight"]
    layer.to(torch.float32)
    return (delta if kind is torch.nn.Linear else delta.T), kind


def _heads(source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a classification head in the adapter's file."""
    from safetensors.torch import load_file

    for key, tensor in load_file(source / "adapter_model.safetensors").items():
        if key.removeprefix(PREFIX).partition(".")[0] in _HEADS:
            yield key, tensor

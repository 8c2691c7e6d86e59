"""Replace the adapter that was merged into a model by another one: W₀ + ΔW becomes W₀ + ΔW′ (Hu 2021, §4.2).

The paper subtracts B·A and adds B′·A′. In floating point that does not give back W₀: each switch leaves a rounding
error in the weights, and they add up. So the base model's own files are the W₀: the new model is made from them and
equals a freshly merged one bit for bit, and switching back gives the first model again. The old model is compared with
a fresh merge of its adapter, so that nothing that was done to it since is lost unnoticed; what the paper's way would
have left is measured. Works on folders; independent of the library.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Switch:
    """What a switch has measured. drift: the largest absolute error that subtracting the old adapter in the model's own
    precision would have left in the base weights; changed: how many tensors were replaced.
    """

    drift: float
    changed: int


def switch_task(
    model_folder: Path,
    base: Path,
    old: Path,
    new: Path,
    target: Path,
    card: dict,
    progress: Callable[[Sentence], None] = lambda doing: None,
) -> Switch:
    """Write the model of the adapter `new` to `target`, in place of the one in `model_folder`, which was merged from
    `old`. All files but the weights and the chat template are copied from `model_folder`.

    card: of the model; its labels are the head's. progress: called before each step; may raise to stop. Raises
    StudioError where `model_folder` does not hold the base model with `old` merged.
    """
    progress(Sentence("Comparing the model with a fresh merge of its adapter"))
    found = _tensors(model_folder)
    precision = _PRECISIONS[str(_read(found, next(iter(found))).dtype).removeprefix("torch.")]
    shutil.copytree(model_folder, target, dirs_exist_ok=True)
    different = _different(found, _save_merged(base, old, target, precision, card))
    if different:
        raise StudioError(
            "The model's weights are not those of its base model with its adapter merged ({tensor} differs): it was "
            "changed since, or the adapter was. Merge the other adapter into the base model instead.",
            tensor=different[0],
        )
    progress(Sentence("Measuring what subtracting would leave"))
    drift = subtraction_drift(base, old, precision, card)
    progress(Sentence("Merging the other adapter into the base model"))
    different = _different(found, _save_merged(base, new, target, precision, card))
    if (new / "chat_template.jinja").exists():
        shutil.copyfile(new / "chat_template.jinja", target / "chat_template.jinja")
    return Switch(drift, len(different))


def subtraction_drift(base: Path, adapter: Path, precision: str, card: dict) -> float:
    """The largest absolute difference between a base weight and what is left of it after adding the adapter's ΔW and
    subtracting it again, in `precision`.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    from studio.models.rope_scaling import apply_adapter

    model = apply_adapter(_base_model(base, precision, card), adapter)
    drift = 0.0
    with torch.no_grad():
        for layer in [one for one in model.modules() if isinstance(one, BaseTunerLayer)]:
            before = layer.get_base_layer().weight.detach().clone()
            layer.merge()
            layer.unmerge()
            drift = max(drift, float((layer.get_base_layer().weight - before).abs().max()))
    return drift


def _base_model(base: Path, precision: str, card: dict) -> torch.nn.Module:
    from studio.models.load import load_base

    kind = "image" if card.get("task") == "image" else "text"
    head = "causal_lm" if "labels" not in card else f"{kind}_classification"
    return load_base(base, quantisation="none", precision=precision, device="cpu", head=head, labels=card.get("labels"))


def _save_merged(base: Path, adapter: Path, folder: Path, precision: str, card: dict) -> dict[str, Path]:
    """Save the base model with the adapter merged into it in float32, then rounded to `precision`, in place of the
    weights in `folder`; returns tensor → file.
    """
    from studio.models.load import compute_dtype
    from studio.models.rope_scaling import apply_adapter
    from studio.models.text_part import restore_other_parts

    for path in folder.glob("*.safetensors*"):
        path.unlink()
    model = apply_adapter(_base_model(base, "fp32", card), adapter).merge_and_unload(safe_merge=True)
    restore_other_parts(model.to(compute_dtype(precision, "cpu"))).save_pretrained(folder)
    return _tensors(folder)


def _tensors(folder: Path) -> dict[str, Path]:
    """Tensor → the safetensors file in `folder` that holds it."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _read(tensors: dict[str, Path], name: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(tensors[name], "pt") as file:
        return file.get_tensor(name)


def _different(one: dict[str, Path], other: dict[str, Path]) -> list[str]:
    """Names of the tensors that are not the same, bit for bit, in both models, or missing in one."""
    import torch

    def same(name: str) -> bool:
        pair = _read(one, name), _read(other, name)
        return pair[0].dtype == pair[1].dtype and torch.equal(*pair)

    return sorted(set(one) ^ set(other)) + [name for name in one if name in other and not same(name)]

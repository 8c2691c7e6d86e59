"""AdapterFusion: combine trained, frozen adapters by attention over their outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal

from studio.methods.adapter import _MLP_OUTPUT, _is
from studio.methods.base import DEFAULT, Method
from studio.models.resolve import local_folder
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence, StudioError

_TOO_FEW = (
    "AdapterFusion mixes at least two adapters, but {count} are chosen. Train two bottleneck adapters (placed after "
    "the MLP) on this base model, then choose them here."
)


class AdapterFusion(Method):
    """Takes adapters that were fine-tuned on one task each, leaves them as they are, and trains only which of them to listen to, word by word.

    Equation: h ← h + V Σₙ sₙ zₙ, s = softmaxₙ(hᵀQᵀK zₙ / √d), zₙ = what adapter n adds; Q, K, V are trained, V = identity at the start
    Paper: Pfeiffer et al. 2021, AdapterFusion: Non-Destructive Task Composition for Transfer Learning, arXiv:2005.00247
    Good for: bringing several finished tasks into one model without any of them being forgotten, and a small new task that resembles them.
    Cost: three matrices as wide as the model in each block, more than the adapters themselves; each token passes through every adapter of the bank.
    Limits: needs two or more bottleneck adapters of one base and one size, placed after the MLP; cannot be merged; stock peft cannot load it.
    """

    title: ClassVar[str] = "AdapterFusion"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "adapter"
    order: ClassVar[int] = 29
    artefact_type: ClassVar[str] = "FUSION"
    learning_rate: ClassVar[float] = 1e-3
    stock: ClassVar[bool] = False

    name: Literal["fusion"] = option("fusion", "Method", "", hidden=True)
    adapters: list[str] = option(
        [],
        "Adapters to fuse",
        "Bottleneck adapters of the library that were fine-tuned on this base model; their tasks are what can be "
        "mixed.",
        adapters="BOTTLENECK",
        made_with={"place": "pfeiffer"},
    )
    regularisation: float = option(
        0.01,
        "Pull of V to the identity",
        "How strongly the value matrices are kept near where they start, at which they pass the adapters on unchanged.",
        ge=0,
        le=10,
        advanced=True,
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.tuners import FusionConfig
        from studio.tuners.fusion import fill_bank

        if problem := self.unfinished():
            raise StudioError(problem)
        folders = [setting.adapter(adapter) for adapter in dict.fromkeys(self.adapters)]
        configs = [_fitting(folder, setting.base) for folder in folders]
        first = configs[0]
        for folder, config in zip(folders, configs, strict=True):
            if (config["size"], config["activation"]) != (first["size"], first["activation"]):
                raise StudioError(
                    "The adapters '{one}' and '{other}' do not match: bottleneck {size} ({activation}) against "
                    "{size2} ({activation2}). Fuse adapters of one size and activation.",
                    one=_said(folders[0]),
                    other=_said(folder),
                    size=first["size"],
                    activation=first["activation"],
                    size2=config["size"],
                    activation2=config["activation"],
                )
        model = get_peft_model(
            model,
            FusionConfig(
                task_type=setting.task_type,
                target_modules=first["target_modules"],
                names=[_said(folder) for folder in folders],
                size=first["size"],
                activation=first["activation"],
            ),
        )
        try:
            fill_bank(model, folders, [config["scale"] for config in configs])
        except (OSError, ValueError) as error:
            raise StudioError(
                "The adapters do not fit into this base model ({detail}); choose adapters that were fine-tuned on it.",
                detail=error,
            ) from error
        return model

    def penalty(self, model):
        """Regularisation of the value matrices: λ·‖V − I‖², averaged over the blocks."""
        import torch

        from studio.tuners.fusion import fusion_layers

        if not self.regularisation:
            return None
        values = [layer.fusion_value["default"].weight for layer in fusion_layers(model).values()]
        return (
            self.regularisation
            * torch.stack(
                [
                    (value - torch.eye(len(value), dtype=value.dtype, device=value.device)).square().sum()
                    for value in values
                ]
            ).mean()
        )

    def parameter_count(self, shape: Shape) -> int:
        """3·d² for Q, K and V of each block (Pfeiffer 2021, §3.2); the fused adapters are frozen."""
        return 3 * shape.hidden**2 * sum(_is(name, _MLP_OUTPUT) for name in shape.linear_layers)

    def refusal(self, shape, task, quantisation):
        if shape is not None and sum(_is(name, _MLP_OUTPUT) for name in shape.linear_layers) != shape.layers:
            return Sentence(
                "Adapters do not know the layer names of {architecture}; choose LoRA.", architecture=shape.architecture
            )
        return super().refusal(shape, task, quantisation)

    def unfinished(self):
        chosen = len(set(self.adapters))
        return Sentence(_TOO_FEW, count=chosen) if chosen < 2 else None

    def merge_refusal(self):
        return Sentence(
            "{method} cannot be merged: the adapters are mixed anew for each token. Download the adapter instead.",
            method=Sentence(self.title),
        )

    def summary(self) -> str:
        return f"{self.title} of {len(self.adapters)}"


def _fitting(folder: Path, base: Path | None) -> dict:
    """Read the config of the adapter in `folder`. Raises StudioError if it cannot be fused on the model in `base`."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config["peft_type"] != "BOTTLENECK":
        raise StudioError(
            "'{name}' is no bottleneck adapter but {kind}; only bottleneck adapters can be fused.",
            name=_said(folder),
            kind=config["peft_type"],
        )
    if config["input_modules"] or not all(_is(name, _MLP_OUTPUT) for name in config["target_modules"]):
        raise StudioError(
            "The adapter '{name}' does not stand after the MLP alone; fusion needs the place 'After the MLP "
            "(Pfeiffer)'. Train it again with that place.",
            name=_said(folder),
        )
    card = _words(folder).get("card") or {}
    own = (
        local_folder(card["base"], card.get("revision"))
        if card.get("base")
        else Path(config["base_model_name_or_path"])
    )
    if base is not None and (own is None or Path(own).resolve() != Path(base).resolve()):
        raise StudioError(
            "The adapter '{name}' was fine-tuned on another base model ({base}); choose adapters of the model that "
            "you fine-tune now.",
            name=_said(folder),
            base=card.get("base") or own,
        )
    return config


def _words(folder: Path) -> dict:
    """The library's metadata of the adapter in `folder`, {} if there is none."""
    path = folder / "studio.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _said(folder: Path) -> str:
    """The adapter's name in the library, or else the folder's name."""
    return _words(folder).get("name") or folder.name

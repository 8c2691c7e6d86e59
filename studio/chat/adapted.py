"""One base model in memory and the adapters that are laid over it, one active at a time.

peft's adapters come in two sorts. *Injected* ones (LoRA, (IA)³, …) replace layers; several of one type live side by side and
are switched, another type must first be unloaded. *Prompts* (prompt tuning, P-Tuning, …) change no layer, only what
generation puts before the input, so they can lie over the model at any time. Not thread-safe: whoever calls holds the turn.
It knows nothing about text, tokens, or who asks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, PromptLearningConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper

from studio.models.context import factor_of, stretch
from studio.models.load import guard_4bit
from studio.words import StudioError

_MOST = 24  # adapters kept in memory at once; the one asked for longest ago goes first
_HOOK = "prepare_inputs_for_generation"


@dataclass(frozen=True)
class Kind:
    """What decides which adapters can share the model. own_bias: it changes the base's biases, so nothing else may run beside it."""

    type: str
    prompt: bool
    own_bias: str = ""

    @property
    def group(self) -> tuple[str, str]:
        return (self.type, self.own_bias)


def kind_of(adapter_id: str, folder: Path) -> Kind:
    """The kind of the stock adapter in `folder`, from its adapter_config.json."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        kind = config["peft_type"]
    except (OSError, ValueError, KeyError) as error:
        raise StudioError(
            "The adapter '{name}' has no readable adapter_config.json; delete it, or train it again.", name=adapter_id
        ) from error
    if not (folder / "adapter_model.safetensors").is_file():
        raise StudioError(
            "The adapter '{name}' has no adapter_model.safetensors; delete it, or train it again.", name=adapter_id
        )
    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise StudioError(
            "The adapter '{name}' is of the type {kind}, which this version of peft does not know; update peft.",
            name=adapter_id,
            kind=kind,
        )
    prompt = issubclass(PEFT_TYPE_TO_CONFIG_MAPPING[kind], PromptLearningConfig)
    return Kind(kind, prompt, adapter_id if config.get("bias", "none") != "none" else "")


class Adapted:
    """`model` and its adapters. `load` brings one in, `activate` makes it the one that answers (None: the base itself)."""

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.injected: tuple[str, str] | None = None  # group of the adapters whose layers are in the model now
        self.active: str | None = None
        self._groups: dict[tuple[str, str], PeftModel] = {}
        self._places: dict[str, tuple[PeftModel, str, Kind]] = {}  # adapter id → where it is, by which name there
        self._factors: dict[str, float] = {}  # adapter id → how many times the base's context it was taught with
        self._biases: dict[str, torch.Tensor] = {}
        self._count = 0

    @property
    def clean(self) -> bool:
        """Whether the base, its adapters switched off, answers as if there were none."""
        return self.injected is None or not self.injected[1]

    def load(self, adapter_id: str, folder: Path, kind: Kind, keep: set[str]) -> None:
        """Bring the adapter into memory if it is not there; adapters in `keep` are not dropped for it."""
        if adapter_id in self._places:
            self._places[adapter_id] = self._places.pop(adapter_id)  # newest last
            return
        self.activate(None)
        self._make_room(keep)
        if not kind.prompt and self.injected not in (None, kind.group):
            self.unload()
        self._count += 1
        name = f"adapter{self._count}"
        try:
            if kind.group in self._groups:
                self._groups[kind.group].load_adapter(str(folder), adapter_name=name, is_trainable=False)
            else:
                self._wrap(kind, folder, name)
        except Exception as error:  # peft raises whatever torch and safetensors do about a torn or foreign file
            self._undo(kind, name)
            raise StudioError(
                "The adapter '{name}' does not fit its base model: {detail}", name=adapter_id, detail=_first_line(error)
            ) from error
        finally:
            self.active = "?"  # loading left something switched on
            self.model.eval()
            self.model.requires_grad_(False)
            guard_4bit(self.model)
        self._places[adapter_id], self._factors[adapter_id] = (self._groups[kind.group], name, kind), factor_of(folder)

    def _wrap(self, kind: Kind, folder: Path, name: str) -> None:
        if not kind.prompt:
            self.injected = kind.group
            if kind.own_bias:
                self._biases = {
                    key: value.clone() for key, value in self.model.state_dict().items() if key.endswith("bias")
                }
        self._groups[kind.group] = PeftModel.from_pretrained(
            self.model, str(folder), adapter_name=name, is_trainable=False
        )

    def activate(self, adapter_id: str | None) -> None:
        """Make this adapter, or with None the base itself, the one that answers. Cheap when it is already."""
        if adapter_id == self.active:
            return
        self.model.__dict__.pop(_HOOK, None)
        place = self._places[adapter_id] if adapter_id else None
        stretch(self.model, self._factors[adapter_id] if adapter_id else 1)
        tuner = self._groups[self.injected].base_model if self.injected in self._groups else None
        if place and not place[2].prompt:
            tuner.enable_adapter_layers()
            tuner.set_adapter(place[1], inference_mode=True)
        elif tuner:
            tuner.disable_adapter_layers()
        if place and place[2].prompt:
            place[0].set_adapter(place[1], inference_mode=True)
            # What PeftModel.generate does for a whole generation is done for a turn, so that others can answer in between.
            self.model.__dict__[_HOOK] = place[0].prepare_inputs_for_generation
        self.active = adapter_id

    def virtual_tokens(self, adapter_id: str | None) -> int:
        """How many tokens of the context the adapter takes for itself."""
        if adapter_id is None:
            return 0
        peft_model, name, _ = self._places[adapter_id]
        return getattr(peft_model.peft_config[name], "num_virtual_tokens", 0)

    def unload(self) -> None:
        """Take the injected adapters out of the model, which is then as it was loaded."""
        if self.injected is None:
            return
        self.activate(None)
        group = self._groups.pop(self.injected, None)
        if group is not None:
            group.unload()
        self._places = {key: place for key, place in self._places.items() if place[0] is not group}
        self._restore_biases()
        self.injected = None

    def _restore_biases(self) -> None:
        if self._biases:
            self.model.load_state_dict(self._biases, strict=False)
            self._biases = {}

    def _undo(self, kind: Kind, name: str) -> None:
        """After a failed load: leave those that were there, and take off what peft left half-made in the model."""
        group = self._groups.get(kind.group)
        if group is not None:
            if name in group.peft_config:
                group.delete_adapter(name)
            return
        if kind.prompt:
            return
        self.injected = None
        for path, module in list(self.model.named_modules()):
            if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
                parent, _, last = path.rpartition(".")
                inside = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module.original_module
                setattr(self.model.get_submodule(parent), last, inside)
        self.model.__dict__.pop("peft_config", None)
        self._restore_biases()

    def _make_room(self, keep: set[str]) -> None:
        for adapter_id in [key for key in self._places if key not in keep][: max(0, len(self._places) - _MOST + 1)]:
            peft_model, name, kind = self._places[adapter_id]
            alone = sum(place[0] is peft_model for place in self._places.values()) == 1
            if not alone:
                peft_model.delete_adapter(name)
                del self._places[adapter_id]
            elif kind.prompt:
                del self._places[adapter_id], self._groups[kind.group]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

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

from studio.models.load import disable_4bit_repacking
from studio.models.rope_scaling import apply_rope_scaling, rope_factor
from studio.words import StudioError

_MAX_ADAPTERS = 24  # adapters kept in memory at once; the one asked for longest ago goes first
_HOOK = "prepare_inputs_for_generation"


@dataclass(frozen=True)
class AdapterKind:
    """What decides which adapters can share the model. own_bias: it changes the base's biases, so nothing else may run beside it."""

    type: str
    prompt: bool
    bias_owner: str = ""

    @property
    def group(self) -> tuple[str, str]:
        return (self.type, self.bias_owner)


def adapter_kind(adapter_id: str, folder: Path) -> AdapterKind:
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
    return AdapterKind(kind, prompt, adapter_id if config.get("bias", "none") != "none" else "")


class MultiAdapterModel:
    """`model` and its adapters. `load` brings one in, `activate` makes it the one that answers (None: the base itself)."""

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.injected: tuple[str, str] | None = None  # group of the adapters whose layers are in the model now
        self.active: str | None = None
        self._groups: dict[tuple[str, str], PeftModel] = {}
        self._loaded: dict[
            str, tuple[PeftModel, str, AdapterKind]
        ] = {}  # adapter id → where it is, by which name there
        self._rope_factors: dict[
            str, float
        ] = {}  # adapter id → how many times the base's context it was fine-tuned with
        self._biases: dict[str, torch.Tensor] = {}
        self._count = 0

    @property
    def is_clean(self) -> bool:
        """Whether the base, its adapters switched off, answers as if there were none."""
        return self.injected is None or not self.injected[1]

    def load(self, adapter_id: str, folder: Path, kind: AdapterKind, keep: set[str]) -> None:
        """Bring the adapter into memory if it is not there; adapters in `keep` are not dropped for it."""
        if adapter_id in self._loaded:
            self._loaded[adapter_id] = self._loaded.pop(adapter_id)  # newest last
            return
        self.activate(None)
        self._evict(keep)
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
            self._roll_back(kind, name)
            raise StudioError(
                "The adapter '{name}' does not fit its base model: {detail}", name=adapter_id, detail=_first_line(error)
            ) from error
        finally:
            self.active = "?"  # loading left something switched on
            self.model.eval()
            self.model.requires_grad_(False)
            disable_4bit_repacking(self.model)
        self._loaded[adapter_id], self._rope_factors[adapter_id] = (
            (self._groups[kind.group], name, kind),
            rope_factor(folder),
        )

    def _wrap(self, kind: AdapterKind, folder: Path, name: str) -> None:
        if not kind.prompt:
            self.injected = kind.group
            if kind.bias_owner:
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
        loaded = self._loaded[adapter_id] if adapter_id else None
        apply_rope_scaling(self.model, self._rope_factors[adapter_id] if adapter_id else 1)
        tuner = self._groups[self.injected].base_model if self.injected in self._groups else None
        if loaded and not loaded[2].prompt:
            tuner.enable_adapter_layers()
            tuner.set_adapter(loaded[1], inference_mode=True)
        elif tuner:
            tuner.disable_adapter_layers()
        if loaded and loaded[2].prompt:
            loaded[0].set_adapter(loaded[1], inference_mode=True)
            # What PeftModel.generate does for a whole generation is done for a turn, so that others can answer in between.
            self.model.__dict__[_HOOK] = loaded[0].prepare_inputs_for_generation
        self.active = adapter_id

    def virtual_token_count(self, adapter_id: str | None) -> int:
        """How many tokens of the context the adapter takes for itself."""
        if adapter_id is None:
            return 0
        peft_model, name, _ = self._loaded[adapter_id]
        return getattr(peft_model.peft_config[name], "num_virtual_tokens", 0)

    def unload(self) -> None:
        """Take the injected adapters out of the model, which is then as it was loaded."""
        if self.injected is None:
            return
        self.activate(None)
        group = self._groups.pop(self.injected, None)
        if group is not None:
            group.unload()
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if loaded[0] is not group}
        self._restore_biases()
        self.injected = None

    def _restore_biases(self) -> None:
        if self._biases:
            self.model.load_state_dict(self._biases, strict=False)
            self._biases = {}

    def _roll_back(self, kind: AdapterKind, name: str) -> None:
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

    def _evict(self, keep: set[str]) -> None:
        for adapter_id in [key for key in self._loaded if key not in keep][
            : max(0, len(self._loaded) - _MAX_ADAPTERS + 1)
        ]:
            peft_model, name, kind = self._loaded[adapter_id]
            alone = sum(loaded[0] is peft_model for loaded in self._loaded.values()) == 1
            if not alone:
                peft_model.delete_adapter(name)
                del self._loaded[adapter_id]
            elif kind.prompt:
                del self._loaded[adapter_id], self._groups[kind.group]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

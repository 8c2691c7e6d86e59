"""One base model in memory with many adapters, one of them active at a time.

peft's adapters come in two kinds. *Injected* ones (LoRA, (IA)³, …) replace layers; several of one type can be loaded
together and switched, another type requires unloading them first. *Prompts* (prompt tuning, P-Tuning, …) change no
layer, only what generation prepends to the input, so they can be loaded at any time. Not thread-safe: the caller
holds the lock. Knows nothing about text, tokens or requests.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel, PromptLearningConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.lora.layer import Embedding, LoraLayer, MultiheadAttention, ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from peft.utils.other import ModulesToSaveWrapper

from studio.models.load import disable_4bit_repacking
from studio.models.rope_scaling import apply_rope_scaling, rope_factor
from studio.words import StudioError

_MAX_ADAPTERS = 24  # adapters in memory at once; the least recently used is evicted first
_UNMIXED_LAYERS = (ParamWrapper, MultiheadAttention)  # LoRA layers that take one adapter for the whole batch
_clock = itertools.count()
_HOOK = "prepare_inputs_for_generation"


@dataclass(frozen=True)
class AdapterKind:
    """What decides which adapters can be in the model together. bias_owner: the adapter id where it trains the base's
    biases, so that no other adapter may be active beside it; "" otherwise.
    """

    type: str
    prompt: bool
    bias_owner: str = ""

    @property
    def group(self) -> tuple[str, str]:
        return (self.type, self.bias_owner)


def adapter_kind(adapter_id: str, folder: Path) -> AdapterKind:
    """The kind of the peft adapter in `folder`, from its adapter_config.json. Raises StudioError where files are
    missing or peft does not know the type.
    """
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
    """`model` and its adapters. `load` brings one into memory, `activate` switches to it (None: to the base)."""

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.injected: tuple[str, str] | None = None  # group of the adapters that are injected now
        self.active: tuple[str | None, float] | None = (None, 1.0)  # adapter and its scale; None: not known
        self._groups: dict[tuple[str, str], PeftModel] = {}
        self._loaded: dict[
            str, tuple[PeftModel, str, AdapterKind]
        ] = {}  # adapter id → (model, adapter name in it, kind)
        self._rope_factors: dict[str, float] = {}  # adapter id → factor of its RoPE scaling
        self._biases: dict[str, torch.Tensor] = {}
        self._count = 0
        self._uses: dict[str, int] = {}  # adapter id → when it was last asked for
        self._layers: list[LoraLayer] | None = None  # in the model now; None: to be looked for
        self._overridden: list[torch.nn.Module] = []  # layers whose forward is replaced until the next switch
        self._rescaled: list[tuple[LoraLayer, str, float]] = []  # (layer, adapter name, scaling to be restored)
        self._has_auxiliary_modules = False
        self._mixable: dict[str, bool] = {}  # adapter id → whether its rows can be mixed with those of others

    @property
    def is_clean(self) -> bool:
        """Whether the base, with its adapters disabled, gives the outputs of the plain base model."""
        return self.injected is None or not self.injected[1]

    def load(self, adapter_id: str, folder: Path, kind: AdapterKind, keep: set[str]) -> None:
        """Load the adapter if it is not in memory; adapters in `keep` are not evicted for it. Raises StudioError where
        it does not fit the base.
        """
        self._uses[adapter_id] = next(_clock)
        if adapter_id in self._loaded:
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
        except Exception as error:  # peft passes on any error of torch or safetensors about a damaged file
            self._roll_back(kind, name)
            raise StudioError(
                "The adapter '{name}' does not fit its base model: {detail}", name=adapter_id, detail=_first_line(error)
            ) from error
        finally:
            self._layers = None
            self.active = None  # loading leaves an adapter enabled
            self.model.eval()
            self.model.requires_grad_(False)
            disable_4bit_repacking(self.model)
        self._loaded[adapter_id], self._rope_factors[adapter_id] = (
            (self._groups[kind.group], name, kind),
            rope_factor(folder),
        )
        self._mixable[adapter_id] = self._is_plain_lora(*self._loaded[adapter_id], self._rope_factors[adapter_id])

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

    def activate(self, adapter_id: str | None, scale: float = 1.0) -> None:
        """Switch to this adapter at this strength (see `adapter_scale`), or with None to the base. Cheap where it is
        active already.
        """
        if (adapter_id, scale) == self.active:
            return
        self.model.__dict__.pop(_HOOK, None)
        self._restore_layers()
        loaded = self._loaded[adapter_id] if adapter_id else None
        apply_rope_scaling(self.model, self._rope_factors[adapter_id] if adapter_id else 1)
        self._switch_injected(loaded[1] if loaded and not loaded[2].prompt else None)
        if loaded and loaded[2].prompt:
            loaded[0].set_adapter(loaded[1], inference_mode=True)
            # What PeftModel.generate does for a whole generation is done for each hold of the lock, so that others can
            # run in between.
            self.model.__dict__[_HOOK] = loaded[0].prepare_inputs_for_generation
        elif loaded and scale != 1:
            self._scale_layers(loaded[1], scale)
        self.active = (adapter_id, scale)

    def _scale_layers(self, name: str, scale: float) -> None:
        """Set the strength of the injected adapter called `name` until the next switch."""
        for layer in self.model.modules():
            if isinstance(layer, LoraLayer) and name in layer.scaling and name not in layer.lora_variant:
                self._rescaled.append((layer, name, layer.scaling[name]))
                layer.scaling[name] *= scale
            elif isinstance(layer, BaseTunerLayer):
                layer.forward = partial(_scaled_forward, layer, scale)
                self._overridden.append(layer)

    def _restore_layers(self) -> None:
        for layer in self._overridden:
            layer.__dict__.pop("forward", None)
        for layer, name, scaling in self._rescaled:
            layer.scaling[name] = scaling
        self._overridden, self._rescaled = [], []

    def _switch_injected(self, name: str | None) -> None:
        """Make the injected adapter called `name` the active one, or disable all with None."""
        if self.injected not in self._groups:
            return
        tuner = self._groups[self.injected].base_model
        layers = self._lora_layers()
        if self.injected[0] == "LORA" and not self._has_auxiliary_modules:
            # What peft's calls below do, without walking through all modules and their gradients: it is done after each
            # token where two batches take turns.
            for layer in layers:
                layer._disable_adapters = name is None
                layer._active_adapter = [name] if name else layer._active_adapter
        elif name:
            tuner.enable_adapter_layers()
            tuner.set_adapter(name, inference_mode=True)
        else:
            tuner.disable_adapter_layers()

    def is_loaded(self, adapter_id: str | None) -> bool:
        """Whether the adapter is in memory already; the base always is."""
        return adapter_id is None or adapter_id in self._loaded

    def can_mix(self, adapter_id: str) -> bool:
        """Whether rows of this adapter can stand in one batch with rows of others: plain LoRA without a RoPE factor.

        peft's mixed batches leave out variants such as DoRA, and modules saved whole.
        """
        return self._mixable[adapter_id]

    def _is_plain_lora(self, peft_model: PeftModel, name: str, kind: AdapterKind, rope_factor: float) -> bool:
        config = peft_model.peft_config[name]
        if kind.group != ("LORA", "") or config.modules_to_save or config.trainable_token_indices:
            return False
        return rope_factor == 1 and not any(
            isinstance(layer, _UNMIXED_LAYERS) or name in layer.lora_variant for layer in self._lora_layers()
        )

    def activate_rows(self, rows: list[tuple[str | None, float]]) -> None:
        """Switch to a batch whose row i is for the adapter `rows[i][0]` (None: the base) at the strength `rows[i][1]`.
        Different ones must be adapters that `can_mix`, and equal ones stand side by side.
        """
        if len(set(rows)) == 1:
            self.activate(*rows[0])
            return
        self.activate(next(adapter for adapter, _ in rows if adapter))
        self.active = None  # until the layers have their own forward again
        runs, at = [], 0
        for (adapter, scale), same in itertools.groupby(rows):
            count = len(list(same))
            runs.append((slice(at, at + count), self._loaded[adapter][1] if adapter else "__base__", scale))
            at += count
        for layer in self._lora_layers():
            mixed = _mixed_embedding_forward if isinstance(layer, Embedding) else _mixed_forward
            layer.forward = partial(mixed, layer, runs)
            self._overridden.append(layer)

    def forward_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """The logits of the active adapter for token ids, batch × length × vocabulary. Virtual tokens stand before the
        ids, as in generation; logits at their places are left out.
        """
        loaded = self._loaded[self.active[0]] if self.active and self.active[0] else None
        model = loaded[0] if loaded and loaded[2].prompt else self.model
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1] :]

    def _lora_layers(self) -> list[LoraLayer]:
        if self._layers is None:
            modules = list(self.model.modules())
            self._layers = [module for module in modules if isinstance(module, LoraLayer)]
            self._has_auxiliary_modules = any(isinstance(module, AuxiliaryTrainingWrapper) for module in modules)
        return self._layers

    def virtual_token_count(self, adapter_id: str | None) -> int:
        """How many tokens of the context the adapter's virtual tokens take."""
        if adapter_id is None:
            return 0
        peft_model, name, _ = self._loaded[adapter_id]
        return getattr(peft_model.peft_config[name], "num_virtual_tokens", 0)

    def unload(self) -> None:
        """Remove the injected adapters from the model, which is then as it was loaded."""
        if self.injected is None:
            return
        self.activate(None)
        self._layers = None
        group = self._groups.pop(self.injected, None)
        if group is not None:
            self._unwrap(group)
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if loaded[0] is not group}
        self._restore_biases()
        self.injected = None

    def _unwrap(self, group: PeftModel) -> None:
        """Take the adapters out of the model. peft's `unload` leaves the active adapter's copy of each module that was
        saved whole in place of the base's own.
        """
        wrappers = [(path, it) for path, it in self.model.named_modules() if isinstance(it, ModulesToSaveWrapper)]
        originals = {path: wrapper.original_module for path, wrapper in wrappers}
        group.unload()
        for path, original in originals.items():
            parent, _, last = path.rpartition(".")
            setattr(self.model.get_submodule(parent), last, original)

    def _restore_biases(self) -> None:
        if self._biases:
            self.model.load_state_dict(self._biases, strict=False)
            self._biases = {}

    def _roll_back(self, kind: AdapterKind, name: str) -> None:
        """After a failed load: keep the adapters that were there, and remove what peft left half-injected."""
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
        for adapter_id in sorted((key for key in self._loaded if key not in keep), key=self._uses.__getitem__)[
            : max(0, len(self._loaded) - _MAX_ADAPTERS + 1)
        ]:
            peft_model, name, kind = self._loaded[adapter_id]
            alone = sum(loaded[0] is peft_model for loaded in self._loaded.values()) == 1
            if not alone:
                peft_model.delete_adapter(name)
                del self._loaded[adapter_id]
            elif kind.prompt:
                del self._loaded[adapter_id], self._groups[kind.group]


def _mixed_forward(layer: LoraLayer, runs: list[tuple[slice, str, float]], x: torch.Tensor) -> torch.Tensor:
    """The output of a LoRA layer for a batch whose rows have different adapters or strengths. runs: (rows, adapter name
    in `layer`, strength).

    As peft's own mixed batches (`adapter_names`), which take four times as long on a CPU because they copy the rows of
    each adapter; here those stand side by side and need no copy.
    """
    result = layer.base_layer(x)
    for rows, name, scale in runs:
        if name in layer.lora_A:
            down, up = layer.lora_A[name], layer.lora_B[name]
            result[rows] += (up(down(x[rows].to(down.weight.dtype))) * (layer.scaling[name] * scale)).to(result.dtype)
    return result


def _mixed_embedding_forward(layer: Embedding, runs: list[tuple[slice, str, float]], x: torch.Tensor) -> torch.Tensor:
    """As `_mixed_forward`, for token ids."""
    parts = []
    for rows, name, scale in runs:
        ids = x[rows]
        parts.append(_scaled_forward(layer, scale, ids, adapter_names=[name] * len(ids)))
    return torch.cat(parts)


def _scaled_forward(layer: BaseTunerLayer, scale: float, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
    """base + scale · (adapted − base), of the outputs of a layer: where a method changes the layer's weight by ΔW, the
    output with scale · ΔW.
    """
    adapted = type(layer).forward(layer, x, *args, **kwargs)
    if scale == 1:
        return adapted
    kwargs.pop("adapter_names", None)
    base = layer.base_layer(x, *args, **kwargs)
    return base + scale * (adapted - base)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

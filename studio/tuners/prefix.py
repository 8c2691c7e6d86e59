"""Prefix tuning: trainable keys and values in each layer that every token can attend to (Li & Liang 2021,
arXiv:2101.00190).

The prefix is concatenated before the layer's own keys and values inside the attention function (transformers'
`AttentionInterface`), not written into a cache as stock peft does. So results with packing, padding, gradient
checkpointing, quantised base models and cached generation stay exact. A `PrefixLayer` wraps the key projection and
holds the prefix of its layer; `hook_attention` makes the model's attention function use it. `PrefixModel` shifts the
position ids by the prefix length, as a cache of that length would, so stock peft computes the same from the same
prefixes; `to_stock` and `from_stock` write and read stock PREFIX_TUNING folders. Independent of methods and their
options.

To use prefixes in another tuner: wrap the key projections in `PrefixLayer` or a subclass of it, call
`update_layer(name, tokens, *key_value_shape(config), gated=True)`, and call `hook_attention(model)` once the layers are
in the model.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftConfig, PrefixTuningConfig
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features
from peft.utils.other import ModulesToSaveWrapper, _prepare_prompt_learning_config
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from studio.tuners.layer_tuner import LayerTuner
from studio.words import StudioError

_SUFFIX = "_with_prefix"


@dataclass
class PrefixConfig(PeftConfig):
    """Configuration of prefix tuning.

    num_virtual_tokens: prefix length. hidden: width of the reparameterisation network; 0 trains the prefix directly.
    gated: see `PrefixLayer`.
    """

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Last names of the key projections."}
    )
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    num_virtual_tokens: int = field(default=20, metadata={"help": "Length of the prefix."})
    hidden: int = field(default=0, metadata={"help": "Width of the reparameterising network; 0: none."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules to train in full, such as a new head."}
    )
    gated: bool = field(default=False, metadata={"help": "Let each token decide how much it attends to the prefix."})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "PREFIX"


class PrefixLayer(nn.Module, BaseTunerLayer):
    """A wrapped key projection with one prefix for each adapter.

    A prefix has the shape [tokens, 2, heads, head_size]: keys, then values, as the attention function receives them
    (after the rotary embedding). It is either a parameter, or, with a trunk, its initial value plus the output of a
    shared network. gated: each token has a gate σ(w·x + b) in (0, 1), where x is the layer's input; the gate's
    logarithm is added to the token's attention scores for the prefix before the softmax. With the gate at 0 the layer
    computes what the base model does. The gate of a token depends on no later token.
    """

    adapter_layer_names = ("prefix_pairs", "prefix_out", "prefix_gate")
    other_param_names = ("prefix_start", "trunks")

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = _get_in_out_features(base_layer)
        self.prefix_pairs, self.prefix_start = nn.ParameterDict(), BufferDict(persistent=True)
        self.prefix_out, self.prefix_gate = nn.ModuleDict(), nn.ModuleDict()
        self.trunks: dict[
            str, tuple[nn.Module]
        ] = {}  # in tuples, so that torch does not register them as submodules of each layer
        self.gates: dict[str, torch.Tensor] = {}
        self.merged_adapters: list[str] = []

    def update_layer(
        self,
        adapter_name: str,
        tokens: int,
        heads: int,
        head_size: int,
        *,
        gated: bool = False,
        trunk: nn.Module | None = None,
        inference_mode: bool = False,
    ) -> None:
        """Add a prefix, initialised with small random keys and values. trunk() gives [tokens, width]; it is shared by
        all layers.
        """
        start = torch.randn(tokens, 2, heads, head_size) * 0.02
        if trunk is None:
            self.prefix_pairs[adapter_name] = nn.Parameter(start)
        else:
            self.prefix_start[adapter_name] = start
            self.trunks[adapter_name] = (trunk,)
            self.prefix_out[adapter_name] = out = nn.Linear(trunk.width, 2 * heads * head_size)
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)
        if gated:
            self.prefix_gate[adapter_name] = gate = nn.Linear(self.in_features, 1)
            nn.init.zeros_(gate.weight)
            nn.init.zeros_(gate.bias)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def begin_with(self, adapter_name: str, pairs: torch.Tensor) -> None:
        """Replace the random initial value by `pairs`, [tokens, 2, heads, head_size]."""
        held = self.prefix_start[adapter_name] if adapter_name in self.prefix_start else self.prefix_pairs[adapter_name]
        with torch.no_grad():
            held.copy_(pairs)

    def pairs(self, adapter_name: str) -> torch.Tensor:
        """The current prefix, [tokens, 2, heads, head_size]."""
        if adapter_name in self.prefix_pairs:
            return self.prefix_pairs[adapter_name]
        start = self.prefix_start[adapter_name]
        return start + self.prefix_out[adapter_name](self.trunks[adapter_name][0]()).view_as(start)

    def in_use(self) -> list[str]:
        """Names of the active adapters that have a prefix in this layer; [] while adapters are disabled."""
        if self.disable_adapters:
            return []
        return [name for name in self.active_adapters if name in self.prefix_pairs or name in self.prefix_start]

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        self.gates = {}
        for name in self.in_use():
            if name in self.prefix_gate:
                gate = self.prefix_gate[name]
                self.gates[name] = gate(self._cast_input_dtype(x, gate.weight.dtype))
        return self.base_layer(x, *args, **kwargs)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(
            "A prefix is something to attend to, which no weight of the base model can hold: it cannot be merged."
        )

    def unmerge(self) -> None:
        """Do nothing: `merge` always raises."""


class Trunk(nn.Linear):
    """The shared part of the reparameterisation network: tanh(W·E + b), one row for each prefix token, from which each
    layer projects its prefix.

    Its tensors are direct attributes (it subclasses Linear instead of containing one), because peft removes the
    adapter's name from a state dict key only at that depth.
    """

    def __init__(self, tokens: int, size: int, width: int):
        super().__init__(size, width)
        self.width = width
        self.embedding = nn.Parameter(torch.randn(tokens, size))

    def forward(self) -> torch.Tensor:
        return torch.tanh(super().forward(self.embedding))


class PrefixModel(LayerTuner):
    """The peft tuner that adds prefixes to a model."""

    prefix = "prefix_"
    tuner_layer_cls = PrefixLayer

    def add_to_layer(self, layer, peft_config, adapter_name, current_key):
        trunk = self.prefix_trunk[adapter_name] if peft_config.hidden else None
        heads, size = key_value_shape(self.model.config)
        layer.update_layer(
            adapter_name,
            peft_config.num_virtual_tokens,
            heads,
            size,
            gated=peft_config.gated,
            trunk=trunk,
            inference_mode=peft_config.inference_mode,
        )

    def inject_adapter(self, model, adapter_name, *args, **kwargs):
        """Call peft's `inject_adapter`, which runs for the first adapter and each later one; create the shared network
        before it and install the hooks after it.
        """
        config = self.peft_config[adapter_name]
        if not hasattr(self, "prefix_trunk"):
            self.prefix_trunk = nn.ModuleDict()
        if config.hidden:
            heads, size = key_value_shape(model.config)
            trunk = Trunk(config.num_virtual_tokens, heads * size, config.hidden).to(next(model.parameters()).device)
            self.prefix_trunk[adapter_name] = trunk.requires_grad_(not config.inference_mode)
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        hook_attention(model)
        inside = model.get_decoder()  # not the whole model: peft calls its `forward` directly, which skips hooks
        inside = model.base_model if inside is model else inside
        if "position_ids" in inspect.signature(inside.forward).parameters and not hasattr(self, "shifting"):
            self.shifting = inside.register_forward_pre_hook(self._begin_behind_the_prefix, with_kwargs=True)

    def _begin_behind_the_prefix(self, module, args, kwargs):
        """Shift the position ids by the prefix length p, so that they start at p, as after a cache of p tokens.

        args: empty, or the input ids only.
        """
        layer = next(iter(prefix_layers(module)))
        shift = sum(self.peft_config[name].num_virtual_tokens for name in layer.in_use())
        if not shift:
            return None
        positions = kwargs.get("position_ids")
        if positions is None:
            given = next(
                value for value in (kwargs.get("inputs_embeds"), kwargs.get("input_ids"), *args) if value is not None
            )
            cache = kwargs.get("past_key_values")
            past = cache.get_seq_length() if cache is not None else 0
            positions = torch.arange(past, past + given.shape[1], device=given.device)[None]
        return args, {**kwargs, "position_ids": positions + shift}

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        if adapter_name in self.prefix_trunk:
            del self.prefix_trunk[adapter_name]

    def unload(self) -> nn.Module:
        if hasattr(self, "shifting"):
            self.shifting.remove()
        unhook_attention(self.model)
        return super().unload()


def prefix_layers(model: nn.Module) -> list[PrefixLayer]:
    """The `PrefixLayer`s of the model, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, PrefixLayer)]


def key_value_shape(config) -> tuple[int, int]:
    """(number of key/value heads, head size), as peft derives them from a model's `config`."""
    read = stock_config(config, 1)
    return read.num_attention_heads, read.token_dim // read.num_attention_heads


@torch.no_grad()
def activations(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """The keys and values that the causal base `model` computes for the tokens `ids`, layers × tokens × 2 × heads ×
    head size.

    Used as a prefix, they have exactly the effect of that text before the input.
    """
    cache = model(input_ids=ids[None].to(next(model.parameters()).device), use_cache=True).past_key_values
    return torch.stack(
        [torch.stack([layer.keys[0], layer.values[0]]).permute(2, 0, 1, 3) for layer in cache.layers]
    ).float()


# ---- attention ------------------------------------------------------------------------------------------------------


def hook_attention(model: nn.Module) -> None:
    """Make the model's attention use the prefixes of its `PrefixLayer`s; a second call does nothing.

    Raises StudioError where the model does not support another attention implementation.
    """
    now = model.config._attn_implementation
    if now.endswith(_SUFFIX):
        return
    if not model._can_set_attn_implementation():
        raise StudioError(
            "{architecture} computes attention in a way of its own, into which no prefix can be put; choose LoRA.",
            architecture=type(model).__name__,
        )
    model.set_attn_implementation(("eager" if now == "eager" else "sdpa") + _SUFFIX)


def unhook_attention(model: nn.Module) -> None:
    """Restore the attention implementation from before `hook_attention`."""
    model.set_attn_implementation(model.config._attn_implementation.removesuffix(_SUFFIX))


def _attend(inner):
    """Return an attention function that concatenates the prefixes of the module's `PrefixLayer` before its keys and
    values, then calls the attention function `inner(module)`.
    """

    def attend(module, query, key, value, attention_mask, **kwargs):
        layer = next((child for child in module.children() if isinstance(child, PrefixLayer) and child.in_use()), None)
        for name in layer.in_use() if layer is not None else ():
            causal = kwargs.get("is_causal")
            causal = getattr(module, "is_causal", True) if causal is None else causal
            attention_mask = _mask(attention_mask, query, key, layer, name, bool(causal))
            keys, values = (
                part.to(key.dtype).permute(1, 0, 2).expand(len(key), -1, -1, -1) for part in layer.pairs(name).unbind(1)
            )
            key, value = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        return inner(module)(module, query, key, value, attention_mask, **kwargs)

    return attend


def _mask(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, layer: PrefixLayer, name: str, causal: bool
) -> torch.Tensor | None:
    """Extend `mask` (boolean or additive; batch × 1 × queries × keys) by columns for the prefix, visible to every
    query; with gates, these hold the logarithm of each query's gate.
    """
    tokens, rows, columns = len(layer.pairs(name)), query.shape[2], key.shape[2]
    gate = layer.gates.pop(name, None)
    if mask is None:
        if gate is None and (rows == 1 or not causal):
            return None
        mask = torch.ones(1, 1, rows, columns, dtype=torch.bool, device=key.device)
        mask = mask.tril() if causal and rows > 1 else mask
    if gate is None:
        front = torch.ones if mask.dtype == torch.bool else torch.zeros
        return torch.cat([front(*mask.shape[:3], tokens, dtype=mask.dtype, device=mask.device), mask], 3)
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill(
            ~mask, torch.finfo(query.dtype).min
        )
    front = nn.functional.logsigmoid(gate.float()).to(mask.dtype)[:, None].expand(-1, -1, -1, tokens)
    return torch.cat([front, mask.expand(len(front), -1, -1, -1)], 3)


AttentionInterface.register("sdpa" + _SUFFIX, _attend(lambda module: sdpa_attention_forward))
AttentionInterface.register(
    "eager" + _SUFFIX, _attend(lambda module: sys.modules[type(module).__module__].eager_attention_forward)
)
AttentionMaskInterface.register("sdpa" + _SUFFIX, sdpa_mask)
AttentionMaskInterface.register("eager" + _SUFFIX, eager_mask)


# ---- stock peft adapters --------------------------------------------------------------------------------------------


def stock_config(config, tokens: int, **more) -> PrefixTuningConfig:
    """peft's PrefixTuningConfig for a prefix of `tokens` virtual tokens on a model with `config`."""
    return _prepare_prompt_learning_config(
        PrefixTuningConfig(num_virtual_tokens=tokens, num_transformer_submodules=1, **more), config
    )


def to_stock(model, folder: Path, adapter_name: str = "default") -> None:
    """Write the prefixes of `model` (a PeftModel over a `PrefixModel`) and its modules_to_save, such as a new head, as
    a stock PREFIX_TUNING adapter.
    """
    own, base = model.peft_config[adapter_name], model.get_base_model()
    config = stock_config(
        base.config,
        own.num_virtual_tokens,
        task_type=own.task_type,
        inference_mode=True,
        base_model_name_or_path=own.base_model_name_or_path,
        modules_to_save=own.modules_to_save,
    )
    with torch.no_grad():
        flat = torch.stack(
            [layer.pairs(adapter_name) for layer in prefix_layers(base)], 1
        )  # tokens × layers × 2 × heads × size
    tensors = {"prompt_embeddings": flat.flatten(1).float()}
    for path, module in base.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            tensors.update(
                {
                    f"base_model.{path}.{name}": tensor
                    for name, tensor in module.modules_to_save[adapter_name].state_dict().items()
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    config.save_pretrained(str(folder))


def from_stock(model: nn.Module, folder: Path) -> torch.Tensor:
    """Read the prefixes of a stock PREFIX_TUNING folder for the base `model`: layers × tokens × 2 × heads × size.

    Raises ValueError where their shape does not fit the model.
    """
    config = PrefixTuningConfig.from_pretrained(str(folder))
    flat = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
    own = stock_config(model.config, config.num_virtual_tokens)
    if flat.shape != (own.num_virtual_tokens, own.num_layers * 2 * own.token_dim):
        raise ValueError(
            f"a prefix of {tuple(flat.shape)} numbers does not fit a model of {own.num_layers} layers with "
            f"{own.token_dim} numbers to a key"
        )
    heads = own.num_attention_heads
    return flat.view(len(flat), own.num_layers, 2, heads, own.token_dim // heads).transpose(0, 1).contiguous()

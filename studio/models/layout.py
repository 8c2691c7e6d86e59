"""The tensors and their sizes that the common decoder families require according to their config.json.

Names and sizes are those of transformers 5 (`state_dict` of each `…ForCausalLM`); a test compares every family with it.
Other families are not checked here; their missing tensors are found when the model is loaded. Reads no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from studio.words import Sentence

Sizes = Mapping[str, tuple[int, ...]]
_ATTENTION = {
    "self_attn.q_proj": "Q H",
    "self_attn.k_proj": "K H",
    "self_attn.v_proj": "K H",
    "self_attn.o_proj": "H Q",
}
_GATED = {"mlp.gate_proj": "I H", "mlp.up_proj": "I H", "mlp.down_proj": "H I"}
_PLAIN = {"mlp.up_proj": "I H", "mlp.down_proj": "H I"}
_NEOX_MLP = {"mlp.dense_h_to_4h": "I H", "mlp.dense_4h_to_h": "H I"}
_CONFIG_KEYS = {
    "H": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "V": ("vocab_size",),
    "I": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"),
    "kv": ("num_key_value_heads",),
    "D": ("head_dim",),
    "E": ("word_embed_proj_dim",),
}


@dataclass(frozen=True)
class Layout:
    """The tensors of a family.

    layer: module in a block → size of its weight as stored, from the symbols H (hidden size), Q (width of all query
    heads), K (width of all key heads), I (MLP width), "?" (any), or a combination such as 3H or QKK. mlp_ratio: I / H
    if config.json does not give I. head_dim: size of one head if config.json does not give it; None for H / heads.
    head: the output layer, "" if its name varies. embedding_width: width of the embedding, a key of `_CONFIG_KEYS`.
    """

    layer: dict[str, str]
    prefix: str = "model."
    stack: str = "layers"
    embedding: str = "embed_tokens"
    head: str = "lm_head"
    mlp_ratio: int | None = None
    head_dim: int | None = None
    embedding_width: str = "H"


_LLAMA, _GEMMA = Layout(_ATTENTION | _GATED), Layout(_ATTENTION | _GATED, head_dim=256)
_PHI3 = {"self_attn.qkv_proj": "QKK H", "self_attn.o_proj": "H Q", "mlp.gate_up_proj": "2I H", "mlp.down_proj": "H I"}
_OPT = {
    "self_attn.q_proj": "H H",
    "self_attn.k_proj": "H H",
    "self_attn.v_proj": "H H",
    "self_attn.out_proj": "H H",
    "fc1": "I H",
    "fc2": "H I",
}
_NEOX = {"attention.query_key_value": "3H H", "attention.dense": "H H"} | _NEOX_MLP
_BLOOM = {"self_attention.query_key_value": "3H H", "self_attention.dense": "H H"} | _NEOX_MLP
_FALCON = {"self_attention.query_key_value": "? H", "self_attention.dense": "H H"} | _NEOX_MLP
_FALCON_H1 = _ATTENTION | {
    "feed_forward.gate_proj": "I H",
    "feed_forward.up_proj": "I H",
    "feed_forward.down_proj": "H I",
    "mamba.in_proj": "? H",
    "mamba.out_proj": "H ?",
}
_MAMBA = Layout({"mixer.in_proj": "? H", "mixer.out_proj": "H ?"}, prefix="backbone.", embedding="embeddings")
LAYOUTS: dict[str, Layout] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "ministral",
            "qwen2",
            "olmo",
            "olmo2",
            "olmo3",
            "smollm3",
            "granite",
            "cohere",
            "cohere2",
            "stablelm",
            "hunyuan_v1_dense",
        ),
        _LLAMA,
    ),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), _GEMMA),
    **dict.fromkeys(("qwen3", "seed_oss", "ernie4_5"), Layout(_ATTENTION | _GATED, head_dim=128)),
    **dict.fromkeys(("nemotron", "arcee", "apertus"), Layout(_ATTENTION | _PLAIN)),
    **dict.fromkeys(("qwen2_moe", "mixtral", "olmoe", "granitemoe", "phimoe", "qwen3_moe"), Layout(_ATTENTION)),
    "gpt_oss": Layout(_ATTENTION, head_dim=64),
    "phi3": Layout(_PHI3),
    "phi": Layout(
        {
            "self_attn.q_proj": "Q H",
            "self_attn.k_proj": "K H",
            "self_attn.v_proj": "K H",
            "self_attn.dense": "H Q",
            "mlp.fc1": "I H",
            "mlp.fc2": "H I",
        }
    ),
    "starcoder2": Layout(_ATTENTION | {"mlp.c_fc": "I H", "mlp.c_proj": "H I"}),
    "gpt2": Layout(
        {"attn.c_attn": "H 3H", "attn.c_proj": "H H", "mlp.c_fc": "H I", "mlp.c_proj": "I H"},
        prefix="transformer.",
        stack="h",
        embedding="wte",
        mlp_ratio=4,
    ),
    "gpt_neox": Layout(_NEOX, prefix="gpt_neox.", embedding="embed_in", head=""),
    "bloom": Layout(_BLOOM, prefix="transformer.", stack="h", embedding="word_embeddings", mlp_ratio=4),
    "falcon": Layout(_FALCON, prefix="transformer.", stack="h", embedding="word_embeddings", mlp_ratio=4),
    "opt": Layout(_OPT, prefix="model.decoder.", embedding_width="E"),
    "mamba": _MAMBA,
    "mamba2": _MAMBA,
    "falcon_mamba": _MAMBA,
    "falcon_h1": Layout(_FALCON_H1),
}
# Without attention, config.json gives no number of heads.
_WITHOUT_ATTENTION = ("mamba", "mamba2", "falcon_mamba")


def refusal(config: dict, tensors: Sizes, *, head: bool) -> Sentence | None:
    """Why `tensors` (stored name → size) do not match `config`, the content of config.json; None if they match or the
    family is not in `LAYOUTS`. head: whether the output layer is required too.
    """
    layout = LAYOUTS.get(config.get("model_type"))
    if layout is None:
        return None
    numbers = _numbers(config)
    if isinstance(numbers, Sentence):
        return numbers
    wanted = ("H", "layers", "V") if config["model_type"] in _WITHOUT_ATTENTION else ("H", "layers", "V", "heads")
    if missing := next((key for key in wanted if numbers.get(key) is None), None):
        return Sentence(
            "config.json lacks '{key}', so it does not describe the model; download the model again.",
            key=_CONFIG_KEYS[missing][0],
        )
    return _wrong_tensor(layout, numbers, tensors, head and config.get("tie_word_embeddings") is False) or _more_layers(
        layout, numbers["layers"], tensors
    )


def _numbers(config: dict) -> dict[str, int | None] | Sentence:
    """The values of `_CONFIG_KEYS` in config.json, None for missing ones; or a sentence about an invalid one."""
    found: dict[str, int | None] = {}
    for name, keys in _CONFIG_KEYS.items():
        key = next((key for key in keys if config.get(key) is not None), None)
        found[name] = config[key] if key else None
        if key and (not isinstance(found[name], int) or isinstance(found[name], bool) or found[name] < 1):
            return Sentence(
                "config.json says {key} is {value}, but it must be a whole number of at least 1; download the "
                "model again.",
                key=key,
                value=repr(found[name])[:40],
            )
    return found


def _dimensions(layout: Layout, numbers: dict[str, int | None]) -> dict[str, int | None]:
    hidden, heads = numbers["H"], numbers["heads"] or 1
    size = numbers["D"] or layout.head_dim or hidden // heads
    inside = numbers["I"] or (layout.mlp_ratio * hidden if layout.mlp_ratio else None)
    queries, keys = heads * size, numbers["kv"] * size if numbers["kv"] else None
    return {
        "H": hidden,
        "3H": 3 * hidden,
        "Q": queries,
        "K": keys,
        "QKK": queries + 2 * keys if keys else None,
        "I": inside,
        "2I": 2 * inside if inside else None,
        "?": None,
    }


def _expected(
    layout: Layout, numbers: dict[str, int | None], head: bool
) -> Iterator[tuple[str, tuple[int | None, ...], str]]:
    """(name, size with None for any number, the keys of config.json that determine it) of each required tensor."""
    sizes = _dimensions(layout, numbers)
    width = numbers[layout.embedding_width] or numbers["H"]
    yield f"{layout.prefix}{layout.embedding}.weight", (numbers["V"], width), "vocab_size, hidden_size"
    if head and layout.head:
        yield f"{layout.head}.weight", (numbers["V"], width), "vocab_size, hidden_size"
    for at in range(numbers["layers"]):
        for module, size in layout.layer.items():
            yield (
                f"{layout.prefix}{layout.stack}.{at}.{module}.weight",
                tuple(sizes[part] for part in size.split()),
                _keys_for_size(size),
            )


def _keys_for_size(size: str) -> str:
    keys = {
        "H": "hidden_size",
        "Q": "num_attention_heads, head_dim",
        "K": "num_key_value_heads, head_dim",
        "I": "intermediate_size",
    }
    return ", ".join(dict.fromkeys(keys[letter] for letter in size if letter in keys))


def _wrong_tensor(layout: Layout, numbers: dict[str, int | None], tensors: Sizes, head: bool) -> Sentence | None:
    for name, size, keys in _expected(layout, numbers, head):
        # A base model can be stored without the prefix.
        held = tensors.get(name, tensors.get(name.removeprefix(layout.prefix)))
        if held is None:
            source = (
                f"num_hidden_layers = {numbers['layers']}"
                if f"{layout.prefix}{layout.stack}." in name
                else "vocab_size, tie_word_embeddings"
            )
            return Sentence(
                "The weights lack the tensor {name}, which config.json calls for ({keys}); download the model again.",
                name=name,
                keys=source,
            )
        if len(held) != 2 or any(want is not None and want != have for want, have in zip(size, held, strict=True)):
            return Sentence(
                "The tensor {name} is {held} in the weights, but {size} by config.json ({keys}); the two do not "
                "belong together. Download the model again.",
                name=name,
                held=" × ".join(map(str, held)),
                size=" × ".join("?" if part is None else str(part) for part in size),
                keys=keys,
            )
    return None


def _more_layers(layout: Layout, layers: int, tensors: Sizes) -> Sentence | None:
    starts = (f"{layout.prefix}{layout.stack}.", f"{layout.stack}.")
    numbers = {
        int(rest.split(".")[0])
        for name in tensors
        for start in starts
        if name.startswith(start) and (rest := name.removeprefix(start)).split(".")[0].isdigit()
    }
    if max(numbers, default=0) < layers:
        return None
    return Sentence(
        "The weights have {count} layers, but config.json says num_hidden_layers = {layers}; the two do not "
        "belong together. Download the model again.",
        count=max(numbers) + 1,
        layers=layers,
    )

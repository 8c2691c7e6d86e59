"""The model architectures that can be written as GGUF: names, metadata and how llama.cpp wants their tensors.

Follows llama.cpp's convert_hf_to_gguf.py (github.com/ggml-org/llama.cpp, November 2026): Llama and Mistral permute the
rows of q and k for its interleaved rotary embeddings; Gemma adds 1 to its norms. Imports gguf only in functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.words import Sentence

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter
    from transformers import PretrainedConfig

_LOCAL_ROPE = 10_000.0  # base of Gemma 3's rotary embedding in layers with a sliding window, fixed in llama.cpp
_PATTERN = 6  # of Gemma 3: every sixth layer attends to the whole context, fixed in llama.cpp


@dataclass(frozen=True)
class Architecture:
    """name: llama.cpp's. permutes: rows of q and k are permuted. norm_offset: added to the weights of norms."""

    name: str
    permutes: bool = False
    norm_offset: float = 0.0


ARCHITECTURES = {
    "LlamaForCausalLM": Architecture("llama", permutes=True),
    "MistralForCausalLM": Architecture("llama", permutes=True),
    "Qwen2ForCausalLM": Architecture("qwen2"),
    "Qwen3ForCausalLM": Architecture("qwen3"),
    "Gemma2ForCausalLM": Architecture("gemma2", norm_offset=1.0),
    "Gemma3ForCausalLM": Architecture("gemma3", norm_offset=1.0),
    "Gemma3ForConditionalGeneration": Architecture("gemma3", norm_offset=1.0),
    "Phi3ForCausalLM": Architecture("phi3"),
}
"""Class of transformers → architecture."""


def architecture_refusal(config: dict) -> Sentence | None:
    """Why a model with this config.json cannot be written as GGUF; None if it can."""
    name = (config.get("architectures") or ["?"])[0]
    if name not in ARCHITECTURES:
        known = ", ".join(sorted({key.removesuffix("ForCausalLM") for key in ARCHITECTURES if "Causal" in key}))
        return Sentence(
            "GGUF is written for the architectures {known}; this base model is {architecture}.",
            known=known,
            architecture=name,
        )
    text = config.get("text_config") or config
    rope = rope_type(text)
    if rope not in ("default", "linear", "llama3"):
        return Sentence("The base model scales its context by '{type}', which is not written as GGUF here.", type=rope)
    if text.get("mlp_bias") or (ARCHITECTURES[name].name == "llama" and text.get("attention_bias")):
        return Sentence("The base model has biases in layers where llama.cpp's {name} has none.", name="llama")
    return _gemma_refusal(ARCHITECTURES[name], text) if "gemma" in ARCHITECTURES[name].name else None


def _gemma_refusal(architecture: Architecture, text: dict) -> Sentence | None:
    """Where llama.cpp has fixed numbers for Gemma, the model must have the same ones."""
    scalar, head = text.get("query_pre_attn_scalar", 256), text.get("head_dim", 256)
    wide = text.get("num_hidden_layers") == 46  # Gemma 2 27B, for which llama.cpp has another fixed number
    fixed = head if not wide else text.get("hidden_size", 0) // text.get("num_attention_heads", 1)
    if scalar != fixed:
        return Sentence(
            "llama.cpp scales the attention of this architecture by {fixed}, the base model by {given}.",
            fixed=fixed,
            given=scalar,
        )
    if architecture.name != "gemma3":
        return None
    rope = text.get("rope_parameters") or {}
    local = (rope.get("sliding_attention") or {}).get("rope_theta", text.get("rope_local_base_freq", _LOCAL_ROPE))
    kinds = text.get("layer_types") or []
    usual = ["full_attention" if (layer + 1) % _PATTERN == 0 else "sliding_attention" for layer in range(len(kinds))]
    if local != _LOCAL_ROPE or kinds != usual or text.get("sliding_window_pattern", _PATTERN) != _PATTERN:
        return Sentence("llama.cpp knows Gemma 3 only with the layers and rotary embeddings that Google released.")
    return None


def rope_type(text_config: dict) -> str:
    """The kind of RoPE scaling of a config.json: "default" where there is none."""
    rope = text_config.get("rope_parameters") or text_config.get("rope_scaling") or {}
    rope = rope.get("full_attention") or rope
    return rope.get("rope_type") or rope.get("type") or "default"


def add_metadata(writer: GGUFWriter, architecture: Architecture, config: PretrainedConfig) -> None:
    """Write the sizes of the model and the settings of its attention. config: transformers', of the text part."""
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    rope = _rope(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    writer.add_vocab_size(config.vocab_size)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if architecture.name in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if architecture.name == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture.name == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config.max_position_embeddings)
        writer.add_sliding_window(config.sliding_window or 0)


def _rope(config: PretrainedConfig) -> dict:
    rope = config.rope_parameters
    return rope.get("full_attention") or rope


def rope_factors(config: PretrainedConfig) -> np.ndarray | None:
    """The factors by which Llama 3's scaling divides the rotary frequencies, shape (head / 2,); None without it.

    Llama 3.1's published formula: high frequencies stay, low ones are divided by the factor, those between blended.
    """
    import math

    import numpy as np

    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, head, 2, dtype=np.float64) / head)
    lengths = 2 * math.pi / frequencies
    low, high, context = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    smooth = np.clip((context / lengths - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def gguf_name(name: str, names) -> str | None:
    """llama.cpp's name of the tensor `name` of transformers, by gguf's map `names`; None if it has none."""
    plain = name.replace("model.language_model.", "model.").replace("language_model.", "")
    return names.get_name(plain, try_suffixes=(".weight", ".bias"))


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k, shape (heads · head, …), in llama.cpp's order: the halves of each head interleaved."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def permuted_heads(name: str, architecture: Architecture, config: PretrainedConfig) -> int:
    """By how many heads the rows of the tensor called `name` by llama.cpp are permuted; 0 if they are not."""
    if not architecture.permutes:
        return 0
    if ".attn_q." in name:
        return config.num_attention_heads
    return config.num_key_value_heads if ".attn_k." in name else 0


def transformed(name: str, tensor: np.ndarray, architecture: Architecture, config: PretrainedConfig) -> np.ndarray:
    """The tensor in the form that llama.cpp expects under `name` (its own name)."""
    if heads := permuted_heads(name, architecture, config):
        return permuted(tensor, heads)
    return tensor + architecture.norm_offset if name.endswith("norm.weight") else tensor

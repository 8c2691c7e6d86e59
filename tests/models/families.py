"""Tiny models of many families with random weights, as transformers makes and saves them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models.model_folders import tokenizer_folder

WORDS = 320
TINY = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 257,
}
_MINIMAL = {key: TINY[key] for key in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")}
_GPT2 = {**_MINIMAL, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
_MAMBA = {**_MINIMAL, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_SSM = {
    "mamba_d_ssm": 32,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
}
_EYES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
MULTIMODAL: dict[str, dict] = {
    "llama4": {
        "text_config": {**TINY, "head_dim": 8, "num_local_experts": 4, "intermediate_size_mlp": 40},
        "vision_config": {**_EYES, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    },
    "gemma3": {"text_config": {**TINY, "head_dim": 8}, "vision_config": _EYES, "mm_tokens_per_image": 4},
    "mistral3": {
        "text_config": {**TINY, "head_dim": 8, "model_type": "mistral"},
        "vision_config": {**_EYES, "head_dim": 8, "model_type": "pixtral"},
        "tie_word_embeddings": False,
    },
    "mistral3 with ministral3": {
        "text_config": {**TINY, "head_dim": 8, "model_type": "ministral3"},
        "vision_config": {**_EYES, "head_dim": 8, "model_type": "pixtral"},
        "tie_word_embeddings": False,
    },
}
_GEMMA4 = {
    **TINY,
    "num_hidden_layers": 4,
    "head_dim": 8,
    "global_head_dim": 16,
    "vocab_size_per_layer_input": WORDS,
    "hidden_size_per_layer_input": 0,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_GEMMA4_EYES = {
    **{key: value for key, value in _EYES.items() if key != "image_size"},
    "num_key_value_heads": 2,
    "head_dim": 8,
    "patch_size": 4,
    "position_embedding_size": 64,
}
MULTIMODAL |= {
    "gemma4": {"text_config": _GEMMA4, "vision_config": _GEMMA4_EYES, "audio_config": None},
    "gemma4 with shared keys": {
        "text_config": {**_GEMMA4, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8},
        "vision_config": _GEMMA4_EYES,
        "audio_config": None,
    },
    "gemma4 with experts": {
        "text_config": {
            **_GEMMA4,
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 16,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
        },
        "vision_config": _GEMMA4_EYES,
        "audio_config": None,
    },
}
"""Families that read pictures besides text, saved whole, as their makers publish them. Some types hold text models of
several types."""
DECODERS: dict[str, dict] = {
    "gpt_oss": {
        **TINY,
        "intermediate_size": 64,
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 150000.0},
    },
    "gpt_neox": {key: value for key, value in TINY.items() if key != "num_key_value_heads"},
    **dict.fromkeys(
        (
            "llama",
            "qwen2",
            "mistral",
            "phi",
            "phi3",
            "olmo",
            "olmo2",
            "olmo3",
            "smollm3",
            "granite",
            "cohere",
            "stablelm",
            "starcoder2",
            "nemotron",
            "arcee",
            "apertus",
        ),
        TINY,
    ),
    **dict.fromkeys(
        (
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "cohere2",
            "seed_oss",
            "ernie4_5",
            "helium",
            "ministral",
            "hunyuan_v1_dense",
        ),
        {**TINY, "head_dim": 8},
    ),
    "gpt2": _GPT2,
    "bloom": {**_MINIMAL, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": {**_MINIMAL, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "opt": {
        **{key: value for key, value in TINY.items() if key != "num_key_value_heads"},
        "ffn_dim": 48,
        "word_embed_proj_dim": 32,
    },
    "qwen2_moe": {**TINY, **_EXPERTS},
    "qwen3_moe": {**TINY, **_EXPERTS, "head_dim": 8},
    "mixtral": {**TINY, "num_local_experts": 4},
    "olmoe": {**TINY, "num_experts": 4, "num_experts_per_tok": 2},
    "granitemoe": {**TINY, "num_local_experts": 4},
    "phimoe": {**TINY, "num_local_experts": 4},
    "mamba": _MAMBA,
    "falcon_mamba": _MAMBA,
    "mamba2": {**_MAMBA, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16},
    "falcon_h1": {**TINY, **_SSM, "head_dim": 8},
}
ENCODERS: dict[str, dict] = {
    **dict.fromkeys(
        ("bert", "roberta", "electra", "deberta-v2", "albert", "modernbert"),
        {key: value for key, value in TINY.items() if key != "num_key_value_heads"},
    ),
    "distilbert": {
        **_MINIMAL,
        "dim": 32,
        "hidden_dim": 48,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": 256,
    },
}
ENCODER_DECODERS: dict[str, dict] = {
    "t5": {
        **_MINIMAL,
        "d_model": 32,
        "d_ff": 48,
        "d_kv": 8,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    },
    **dict.fromkeys(
        ("bart", "marian"),
        {
            **_MINIMAL,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": 256,
            "decoder_start_token_id": 0,
            "forced_eos_token_id": 257,
        },
    ),
}


def tiny_config(kind: str):
    """The config of the tiny model of type `kind`."""
    from transformers import AutoConfig

    return AutoConfig.for_model(kind.split()[0], **(DECODERS | MULTIMODAL | ENCODERS | ENCODER_DECODERS)[kind])


def make_model(kind: str, folder: Path, **more) -> Path:
    """A tiny random model of the type `kind` in `folder`, with the tests' tokenizer. more: for `save_pretrained`."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
    )

    torch.manual_seed(0)
    auto = (
        AutoModelForCausalLM
        if kind in DECODERS
        else AutoModelForImageTextToText
        if kind in MULTIMODAL
        else AutoModelForMaskedLM
        if kind in ENCODERS
        else AutoModelForSeq2SeqLM
    )
    model = auto.from_config(tiny_config(kind))
    model.save_pretrained(folder, **more)
    return tokenizer_folder(folder)


def packed(folder: Path) -> Path:
    """A tiny GPT-OSS in `folder` whose experts are in MXFP4, as OpenAI publishes them: blocks of 32 numbers of 4 bits
    with a scale of 8."""
    import torch
    from safetensors.torch import load_file, save_file

    make_model("gpt_oss", folder)
    stored, chance = load_file(folder / "model.safetensors"), torch.Generator().manual_seed(0)
    for name in [name for name in stored if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = stored.pop(name).shape
        stored[f"{name}_blocks"] = torch.randint(
            0, 256, (experts, outputs, inputs // 32, 16), generator=chance, dtype=torch.uint8
        )
        stored[f"{name}_scales"] = torch.randint(
            118, 122, (experts, outputs, inputs // 32), generator=chance, dtype=torch.uint8
        )
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    path.write_text(
        json.dumps(
            {
                **json.loads(path.read_text()),
                "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": kept},
            }
        )
    )
    return folder

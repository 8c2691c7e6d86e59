"""Small model folders, complete and broken, made without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 300,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def tensors() -> dict[str, np.ndarray]:
    """The weights of the model that CONFIG describes, all zero, in 16 bit."""
    sizes = {"model.embed_tokens.weight": (300, 16), "model.norm.weight": (16,)}
    for layer in range(2):
        for name, size in {
            "self_attn.q_proj.weight": (16, 16),
            "self_attn.q_proj.bias": (16,),
            "self_attn.k_proj.weight": (8, 16),
            "self_attn.v_proj.weight": (8, 16),
            "self_attn.o_proj.weight": (16, 16),
            "mlp.gate_proj.weight": (24, 16),
            "mlp.up_proj.weight": (24, 16),
            "mlp.down_proj.weight": (16, 24),
            "input_layernorm.weight": (16,),
        }.items():
            sizes[f"model.layers.{layer}.{name}"] = size
    return {name: np.zeros(size, np.float16) for name, size in sizes.items()}


def model_folder(folder: Path, config: dict | None = None, weights: bool = True) -> Path:
    """A model in `folder`, with config.json and, unless `weights` is False, one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    if weights:
        save_file(tensors(), folder / "model.safetensors")
    return folder


def sharded(folder: Path, missing: bool = False) -> Path:
    """The same model in two files with an index; with `missing` the second file is not there."""
    model_folder(folder, weights=False)
    items = list(tensors().items())
    parts = {"model-1.safetensors": dict(items[:5]), "model-2.safetensors": dict(items[5:])}
    for name, part in parts.items():
        if not (missing and name == "model-2.safetensors"):
            save_file(part, folder / name)
    index = {"weight_map": {key: name for name, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def damaged(folder: Path, how: str) -> Path:
    """A model whose weight file is damaged: "cut", "empty", "text", "huge" header length, or "json" garbage in the
    header.
    """
    path = model_folder(folder) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[: len(whole) - 100],
            "empty": b"",
            "text": b"<html>404: not found</html>",
            "huge": struct.pack("<Q", 2**60) + whole[8:],
            "json": whole[:8] + b"?" * 50 + whole[58:],
        }[how]
    )
    return folder


def tokenizer_folder(folder: Path, **config) -> Path:
    """A tokenizer of single bytes with two special tokens, and its config."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", **config}))
    return folder

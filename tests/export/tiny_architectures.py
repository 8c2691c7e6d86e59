"""Tiny random models of each architecture that is written as GGUF, with tokenizers of the two kinds that they have."""

from __future__ import annotations

import json
from pathlib import Path

from studio.home import SAMPLES

VOCABULARY = 600
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# Name → (model type of transformers, settings, whether the tokenizer is made from SentencePiece).
MODELS: dict[str, tuple[str, dict, bool]] = {
    "llama": ("llama", {"tie_word_embeddings": False}, True),
    "llama3": ("llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3_ROPE}, False),
    "mistral": ("mistral", {"sliding_window": None}, True),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}, False),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}, False),
    "gemma2": ("gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 128}, True),
    "gemma3": (
        "gemma3_text",
        {"head_dim": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 6, "sliding_window": 128},
        True,
    ),
    # llama.cpp expects the tokens of the released Phi-3 in a model that is called "phi3".
    "phi": ("phi3", {"sliding_window": None, "num_key_value_heads": 4}, True),
}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make(name: str, folder: Path) -> Path:
    """A model folder of the architecture `name`, a key of MODELS."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, settings, sentencepiece = MODELS[name]
    _tokenizer(folder, sentencepiece)
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **(SIZES | settings))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.2)
            elif "norm" in key:
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.normal_(0, 0.2)
    model.save_pretrained(folder)
    return folder


def _tokenizer(folder: Path, sentencepiece: bool) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    folder.mkdir(parents=True)
    texts = (SAMPLES / "captain.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    if sentencepiece:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    else:
        tokenizer = Tokenizer(models.BPE())
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
            r"\s+(?!\S)|\s+"
        )
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
    alphabet = [] if sentencepiece else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 10, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if sentencepiece:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    described = json.loads(tokenizer.to_str())
    # As in the released tokenizers, bytes are ordinary pieces, not special tokens.
    described["added_tokens"] = [token for token in described["added_tokens"] if not token["content"].startswith("<0x")]
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    names = {"unk_token": "<unk>", "pad_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

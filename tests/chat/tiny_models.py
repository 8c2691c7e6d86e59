"""A tiny random Qwen2 with a byte-level tokenizer and a chat template, and adapters of several kinds for it.

Nothing here is trained: the tests compare answers with each other.
"""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_model(folder: Path, *, seed: int = 0, template: str | None = TEMPLATE, context: int = 256) -> Path:
    """A complete model folder: config, safetensors, generation_config, tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL if template else SPECIAL[:1])
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        eos_token_id=len(alphabet),
        pad_token_id=len(alphabet),
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():  # random enough that every prompt is answered differently
            parameter.normal_(0, 0.25) if parameter.ndim > 1 else None
        model.lm_head.weight[len(alphabet) :] = 0  # never generates an end token
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": context,
    }
    if template:
        described["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def make_adapter(base: Path, folder: Path, kind: str, *, seed: int = 1) -> Path:
    """A stock adapter for `base` with random weights, so that it changes every answer.

    kind: lora, dora, bias, ia3, prompt, p_tuning, prefix or ensemble.
    """
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    from studio.tuners import PromptEnsembleConfig

    torch.manual_seed(seed)
    task = {"task_type": "CAUSAL_LM"}
    config = {
        "lora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", **task),
        "dora": lambda: peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], use_dora=True, **task),
        "bias": lambda: peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], bias="lora_only", **task),
        "ia3": lambda: peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **task
        ),
        "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=5, **task),
        "p_tuning": lambda: peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16, **task),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, **task),
        "ensemble": lambda: PromptEnsembleConfig(
            target_modules=["model.embed_tokens"], members=3, num_virtual_tokens=4, **task
        ),
    }[kind]()
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(1.0 if kind == "ia3" else 0.0, 0.3)
    model.save_pretrained(folder)
    return folder


def make_models(root: Path, *kinds: str) -> Path:
    """Make a base model in `root`/base and an adapter of each of `kinds` beside it; returns `root`."""
    base = make_model(root / "base")
    for kind in kinds:
        make_adapter(base, root / kind, kind)
    return root

"""A tiny base model with LoRA adapters of other ranks, scalings, targets and types."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def lora(folder: Path, base: Path, seed: int, deviation: float = 0.3, **config) -> Path:
    """A LoRA with random weights of this standard deviation in `folder`; config: arguments of peft's LoraConfig."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, deviation)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(tmp_path_factory) -> Path:
    """A folder with the base model `base` and the adapters a, b (alike), pattern, rslora, embedding, dora, bias."""
    from tests.chat.tiny_models import make_model

    root = tmp_path_factory.mktemp("adapters")
    base = make_model(root / "base")
    lora(root / "a", base, 1)
    lora(root / "b", base, 2)
    lora(root / "pattern", base, 3, r=2, lora_alpha=12, target_modules=["q_proj", "down_proj"],
         rank_pattern={"down_proj": 5}, alpha_pattern={"layers.0.self_attn.q_proj": 3})  # fmt: skip
    lora(root / "rslora", base, 4, use_rslora=True, r=3, lora_alpha=8, target_modules=["v_proj", "up_proj"])
    lora(root / "embedding", base, 5, target_modules=["embed_tokens", "q_proj"])
    lora(root / "dora", base, 6, use_dora=True)
    lora(root / "bias", base, 7, bias="lora_only")
    return root


def dense(base: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Module → ΔW that the adapter in `folder` makes, as peft merges it, in float64."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    after = PeftModel.from_pretrained(model, folder).double().merge_and_unload().state_dict()
    return {
        name.removesuffix(".weight"): after[name] - before[name]
        for name in before
        if not torch.equal(after[name], before[name])
    }

"""DPO as TRL's own trainer does it, with nothing of the studio's: python dpo.py BASE PAIRS.jsonl OPTIONS, prints the
losses as JSON.

OPTIONS is a JSON list, a run each, so that TRL is imported once. Pairs are {"prompt", "chosen", "rejected"}; the prompt
is rendered with the model's chat template, an answer ends with the end-of-turn token.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import DPOConfig, DPOTrainer

base, pairs, runs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(base)


def rendered(row: dict) -> dict:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": row["prompt"]}], tokenize=False, add_generation_prompt=True
    )
    return {"prompt": prompt, "chosen": row["chosen"] + "<|im_end|>", "rejected": row["rejected"] + "<|im_end|>"}


def losses(options: dict) -> list[float]:
    set_seed(42)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    config = DPOConfig(
        sys.argv[4],
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        max_steps=20,
        seed=42,
        data_seed=42,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=96,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **options,
    )
    rows = Dataset.from_list(
        [rendered(json.loads(line)) for line in Path(pairs).read_text(encoding="utf-8").splitlines()]
    )
    trainer = DPOTrainer(model, args=config, train_dataset=rows, processing_class=tokenizer, peft_config=lora)
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


print(json.dumps([losses(options) for options in runs]))

"""DPO as TRL's own trainer does it, with nothing of the studio's: python dpo.py BASE PAIRS.jsonl OPTIONS.json, prints the losses as JSON.

Pairs are {"prompt", "chosen", "rejected"}; the prompt is rendered with the model's chat template, an answer ends with the end-of-turn token.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import DPOConfig, DPOTrainer

base, pairs, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)
set_seed(options["seed"])
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
lora = LoraConfig(task_type="CAUSAL_LM", r=options["rank"], lora_alpha=options["alpha"], target_modules="all-linear")
set_seed(options["seed"])


def rendered(row: dict) -> dict:
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": row["prompt"]}], tokenize=False, add_generation_prompt=True)
    return {"prompt": prompt, "chosen": row["chosen"] + "<|im_end|>", "rejected": row["rejected"] + "<|im_end|>"}


config = DPOConfig(
    options["folder"], beta=options["beta"], loss_type=options["loss_type"], loss_weights=options["loss_weights"], learning_rate=options["learning_rate"],
    lr_scheduler_type="cosine", warmup_steps=0.05, max_steps=options["steps"], per_device_train_batch_size=options["batch"],
    gradient_accumulation_steps=options["accumulation"], seed=options["seed"], data_seed=options["seed"], use_cpu=True, bf16=False,
    gradient_checkpointing=False, max_length=options["max_length"], logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True)
rows = Dataset.from_list([rendered(json.loads(line)) for line in Path(pairs).read_text(encoding="utf-8").splitlines()])
trainer = DPOTrainer(model, args=config, train_dataset=rows, processing_class=tokenizer, peft_config=lora)
trainer.train()
print(json.dumps([row["loss"] for row in trainer.state.log_history if "loss" in row]))

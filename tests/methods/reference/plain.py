"""The reference: the four methods as anyone would write them with plain peft and transformers' own Trainer, nothing of
the studio."""

import torch
from peft import AdaLoraConfig, LoraConfig, PromptTuningConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainerCallback, TrainingArguments, set_seed

LORA = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
CONFIGS = {
    "lora": LORA,
    "qlora": LORA,
    "prompt_tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=20),
    "adalora": AdaLoraConfig(
        task_type="CAUSAL_LM",
        init_r=12,
        target_r=8,
        lora_alpha=32,
        target_modules="all-linear",
        total_step=20,
        tinit=2,
        tfinal=6,
        orth_reg_weight=0.1,
    ),
}


class Allocate(TrainerCallback):
    """AdaLoRA's: prunes, and notes the penalty that peft adds to the loss, so that it can be taken off the log."""

    penalties: list[float]

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        pairs = [
            (p @ p.T if "lora_A" in n else p.T @ p)
            for n, p in model.named_parameters()
            if "lora_A" in n or "lora_B" in n
        ]
        self.penalties.append(0.1 * sum(torch.norm(p - torch.eye(len(p))).item() for p in pairs) / len(pairs))

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        model.base_model.update_and_allocate(state.global_step + 1)


def losses(method: str, base: str, rows: list[dict], collate, folder: str, learning_rate: float) -> list[float]:
    """The loss of each of 20 steps over `rows` ({"input_ids", "labels"}), 4 a step."""
    set_seed(42)
    four = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=four if method == "qlora" else None
    )
    model = (
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        if method == "qlora"
        else model.requires_grad_(False)
    )
    callback = Allocate()
    callback.penalties = []
    trainer = Trainer(
        get_peft_model(model, CONFIGS[method]),
        train_dataset=rows,
        data_collator=collate,
        callbacks=[callback] if method == "adalora" else None,
        args=TrainingArguments(
            output_dir=folder,
            max_steps=20,
            per_device_train_batch_size=4,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=42,
            data_seed=42,
            remove_unused_columns=False,
        ),
    )
    trainer.train()
    found = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return [loss - penalty for loss, penalty in zip(found, callback.penalties or [0.0] * 20, strict=True)]

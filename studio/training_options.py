"""The `training` and `machine` sections of a recipe, as options: hyperparameters, device and precision."""

from __future__ import annotations

from typing import Literal

from studio.options import Options, SearchRange, option

SHORTEST = 8  # smallest max sequence length, in tokens


class Training(Options):
    """Hyperparameters of training and evaluation."""

    learning_rate: float = option(
        2e-4,
        "Learning rate",
        "Size of each step. Too small learns nothing, too large breaks the model.",
        gt=0,
        le=10,
        group="What matters most",
        search=SearchRange(factor=10, log=True),
    )
    epochs: float = option(
        3, "Epochs", "How many times all examples are seen.", unit="×", gt=0, le=1000, group="What matters most"
    )
    batch_size: int = option(
        8,
        "Batch size",
        "Examples looked at together; costs memory.",
        unit="examples",
        ge=1,
        le=4096,
        group="What matters most",
        search=SearchRange(2, 32, log=True),
    )
    max_length: int = option(
        512,
        "Max sequence length",
        "Longer examples are cut here; the Data tab says how many.",
        unit="tokens",
        ge=SHORTEST,
        le=1_048_576,
        group="What matters most",
    )
    max_steps: int | None = option(
        None,
        "Max steps",
        "Ends the run after so many optimiser steps. Empty: epochs decide.",
        unit="steps",
        ge=1,
        advanced=True,
        group="Length and batches",
    )
    gradient_accumulation_steps: int = option(
        1,
        "Accumulation",
        "Batches added up before a step. Effective batch size = batch size × accumulation.",
        unit="batches",
        ge=1,
        le=4096,
        advanced=True,
        group="Length and batches",
    )
    packing: bool = option(
        False,
        "Packing",
        "Put several examples into one row without padding. Exact or refused: a self-check compares both before the "
        "run.",
        advanced=True,
        group="Length and batches",
    )
    group_by_length: bool = option(
        True,
        "Group by length",
        "Batches of examples of like length: less padding, about twice the speed.",
        advanced=True,
        group="Length and batches",
    )
    seed: int = option(
        42,
        "Seed",
        "Same seed, same order of data, same start.",
        ge=0,
        le=2**31 - 1,
        advanced=True,
        group="Length and batches",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"] = option(
        "cosine",
        "Schedule",
        "How the learning rate changes over the run.",
        advanced=True,
        group="Optimiser",
        labels={
            "linear": "Linear to zero",
            "cosine": "Cosine to zero",
            "constant": "Constant",
            "polynomial": "Polynomial",
            "inverse_sqrt": "Inverse square root",
        },
        search=SearchRange(choices=("linear", "cosine", "constant")),
    )
    warmup_ratio: float = option(
        0.05,
        "Warm-up",
        "Share of the run in which the learning rate climbs to its full size.",
        unit="of the run",
        ge=0,
        le=0.9,
        advanced=True,
        group="Optimiser",
        search=SearchRange(0, 0.2),
    )
    optimiser: Literal["adamw", "sgd", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "lion_8bit"] = (
        option(
            "adamw",
            "Optimiser",
            "The rule that turns gradients into steps. 8-bit ones need a quarter of the memory.",
            advanced=True,
            group="Optimiser",
            labels={
                "adamw": "AdamW",
                "sgd": "SGD",
                "adamw_8bit": "AdamW, 8 bit",
                "paged_adamw": "AdamW, paged",
                "paged_adamw_8bit": "AdamW, paged, 8 bit",
                "adafactor": "Adafactor",
                "lion_8bit": "Lion, 8 bit",
            },
        )
    )
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Pulls trainable parameters towards zero at each step.",
        ge=0,
        le=1,
        advanced=True,
        group="Optimiser",
        search=SearchRange(0, 0.1),
    )
    max_grad_norm: float = option(
        1.0,
        "Gradient clipping",
        "Longer gradients are shortened to this norm. 0: never.",
        ge=0,
        advanced=True,
        group="Optimiser",
        search=SearchRange(0.1, 2, log=True),
    )
    evaluations: int = option(
        4,
        "Evaluations",
        "How often the validation set is looked at during the run; the last one is at the end. 0: never.",
        unit="times",
        ge=0,
        le=1000,
        advanced=True,
        group="Evaluation",
    )
    evaluation_rows: int = option(
        64,
        "Rows to answer",
        "Validation rows that the model answers at the end, for exact match.",
        unit="rows",
        ge=0,
        le=10_000,
        advanced=True,
        group="Evaluation",
    )
    sample_prompts: int = option(
        3,
        "Fixed prompts",
        "Validation prompts answered at each evaluation, so that you can read the progress.",
        unit="prompts",
        ge=0,
        le=16,
        advanced=True,
        group="Evaluation",
    )
    answer_length: int = option(
        96,
        "Answer length",
        "Answers at evaluations end after so many tokens.",
        unit="tokens",
        ge=1,
        le=4096,
        advanced=True,
        group="Evaluation",
    )
    early_stopping_patience: int | None = option(
        None,
        "Early stopping",
        "Ends the run when the validation loss has not improved in so many evaluations. Empty: never.",
        unit="evaluations",
        ge=1,
        le=100,
        advanced=True,
        group="Evaluation",
    )
    load_best_model_at_end: bool = option(
        False,
        "Keep the best",
        "At the end take the checkpoint with the lowest validation loss, not the last one.",
        advanced=True,
        group="Evaluation",
    )
    save_steps: int = option(
        50,
        "Checkpoint every",
        "A killed run continues from its last checkpoint.",
        unit="steps",
        ge=1,
        le=100_000,
        advanced=True,
        group="Evaluation",
    )
    save_total_limit: int = option(
        2,
        "Checkpoints kept",
        "The newest ones, also after the end: a run can be trained longer from them. 0: none after the end.",
        unit="checkpoints",
        ge=0,
        le=1000,
        advanced=True,
        group="Evaluation",
    )
    keep_best_checkpoint: bool = option(
        True,
        "Keep the best checkpoint",
        "Also keep the one with the lowest validation loss; it is written at the evaluation.",
        advanced=True,
        group="Evaluation",
    )

    adapt: bool = option(
        False,
        "Adapt while learning",
        "Watches losses and gradients and changes the run where it helps: learning rate, LoRA ranks, size of the parts "
        "of a batch; goes back after a broken step, and ends early with the best kept. Each change stands in the log "
        "and on the plot.",
        advanced=True,
        group="Adapt while learning",
    )
    adapt_evaluations: int = option(
        16,
        "Evaluations while adapting",
        "The validation loss is measured at least so often: most changes rest on it.",
        unit="times",
        ge=1,
        le=1000,
        advanced=True,
        group="Adapt while learning",
    )
    adapt_patience: int = option(
        2,
        "Patience while adapting",
        "Evaluations without a better validation loss before something is changed. After three times as many the run "
        "stops, unless Early stopping says otherwise.",
        unit="evaluations",
        ge=1,
        le=100,
        advanced=True,
        group="Adapt while learning",
    )
    adapt_rank_ratio: int = option(
        4,
        "Room for ranks",
        "A LoRA layer's rank may grow to so many times the chosen rank, and shrink to that part of it. 1: ranks stay.",
        unit="×",
        ge=1,
        le=64,
        advanced=True,
        group="Adapt while learning",
    )

    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = option(
        [],
        "Trackers",
        "Other programs that get the figures of the run as well. Weights & Biases sends them, with the recipe, to its "
        "own servers, unless WANDB_MODE is offline; the others keep them on this machine.",
        advanced=True,
        group="Tracking",
        labels={"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow", "trackio": "Trackio"},
    )

    @property
    def keeps_best(self) -> bool:
        """Whether the checkpoint with the lowest validation loss is kept during the run."""
        return self.keep_best_checkpoint or self.takes_best

    @property
    def takes_best(self) -> bool:
        """Whether the adapter is made of the checkpoint with the lowest validation loss."""
        return self.load_best_model_at_end or self.adapt

    @property
    def planned_evaluations(self) -> int:
        """How often the validation set is evaluated during the run."""
        return max(self.evaluations, self.adapt_evaluations) if self.adapt and self.evaluations else self.evaluations

    @property
    def stops_after(self) -> int | None:
        """Evaluations without a better validation loss after which the run ends; None: never."""
        if self.early_stopping_patience is None and self.adapt:
            return 3 * self.adapt_patience
        return self.early_stopping_patience

    @property
    def effective_batch(self) -> int:
        """Number of examples per optimiser step: batch size × gradient accumulation steps."""
        return self.batch_size * self.gradient_accumulation_steps


class Machine(Options):
    """Device, precision, quantisation and gradient checkpointing."""

    device: str = option(
        "auto",
        "Device",
        "auto takes the first free GPU, else the CPU. Or: cpu, cuda:0, cuda:1 …",
        pattern=r"auto|cpu|cuda:\d+",
        group="Machine",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        "Precision",
        "Numbers used in calculations. auto: bf16 where the GPU has it, fp32 on a CPU.",
        group="Machine",
        labels={"auto": "Automatic", "fp32": "32 bit", "bf16": "16 bit (bf16)", "fp16": "16 bit (fp16)"},
    )
    quantisation: Literal["none", "nf4", "int8"] = option(
        "none",
        "Quantisation",
        "Quantises the frozen base model: 4 bit needs a quarter of the memory.",
        group="Machine",
        labels={"none": "None", "nf4": "4 bit (NF4)", "int8": "8 bit (LLM.int8)"},
    )
    gradient_checkpointing: bool = option(
        False,
        "Gradient checkpointing",
        "Recalculates instead of remembering: much less memory, about a third slower.",
        group="Machine",
    )

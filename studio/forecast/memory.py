"""Estimate of a run's peak memory in bytes, as a sum of parts computed from the model's shape.

The activation formula was derived from the tensors that autograd saves for a Qwen2 block (torch 2.13, peft 0.21,
scaled-dot-product attention, so nothing of size length²); its error is within 3 % over hidden, intermediate and
key/value sizes. For other blocks (GPT-2, OLMo) it is approximate. Of the machine, only CPU or GPU matters here.
"""

from __future__ import annotations

import math

from studio.models.shape import Shape
from studio.recipe import Recipe

# Bytes of optimiser state per trainable parameter: two moments in 32 or 8 bit, one for Lion, sums over rows and
# columns for Adafactor (Shazeer & Stern 2018, arXiv:1804.04235). 8 bit: Dettmers 2022, arXiv:2110.02861.
STATES = {
    "adamw": 8,
    "sgd": 0,
    "adamw_8bit": 2,
    "paged_adamw": 8,
    "paged_adamw_8bit": 2,
    "adafactor": 0.1,
    "lion_8bit": 1,
}
# Bytes per weight: 4 bits plus scales, one 32-bit scale for 64 weights (0.5 bits per weight) or, with double
# quantisation, 0.127 bits per weight (Dettmers 2023, arXiv:2305.14314, §3).
_NF4, _NF4_DOUBLE = (4 + 0.5) / 8, (4 + 0.127) / 8
_INT8 = 1.01  # bytes per weight: one byte, and a scale for each row (Dettmers 2022, arXiv:2208.07339)
# Bytes. A worker with torch, transformers and peft imported takes 0.49 GB (FACTS.md); a CUDA context with its libraries
# about as much.
PROCESS = {"cpu": 520_000_000, "cuda": 500_000_000}
_SLACK = 0.15  # fraction added to the activations: allocator fragmentation and temporary tensors
LABELLED = 0.8  # assumed fraction of a batch's positions at which some row has a label
# Factor on LoRA's activations for methods whose own layers save much more for backward (measured as above).
_HEAVIER = {"dora": 2.3}


def precision_of(recipe: Recipe, bf16: bool, device: str) -> str:
    """Resolve the recipe's precision; "auto" is bf16 on GPUs that support it, fp16 on other GPUs, fp32 on a CPU."""
    if recipe.machine.precision != "auto":
        return recipe.machine.precision
    return "fp32" if device == "cpu" else "bf16" if bf16 else "fp16"


def memory_parts(recipe: Recipe, shape: Shape, longest: int, *, device: str, precision: str) -> dict[str, int]:
    """Return peak memory in bytes by part: weights, gradients, optimiser, activations, logits, process.

    longest: tokens of the longest example. All examples of the largest batch are assumed to be that long.
    """
    trained = recipe.method.parameter_count(shape)
    width = 4 if precision == "fp32" else 2
    whole = recipe.method.artefact_type == "model"
    tokens = (
        (longest + recipe.method.input_tokens)
        * recipe.training.batch_size
        * recipe.task.sequences_per_example
        * recipe.method.rows
    )
    parts = {
        "weights": weight_bytes(recipe, shape, 4 if whole else width) + (0 if whole else 4 * trained),
        "gradients": 4 * trained,
        "optimiser": STATES[recipe.training.optimiser] * trained,
        "activations": (1 + _SLACK) * tokens * activation_bytes(recipe, shape, width),
        "logits": tokens * LABELLED * shape.vocab_size * (12 if width == 4 else 16)
        if recipe.task.task_type == "CAUSAL_LM"
        else 0,
        "process": PROCESS["cpu" if device == "cpu" else "cuda"],
    }
    return {name: math.ceil(size) for name, size in parts.items()}


def weight_bytes(recipe: Recipe, shape: Shape, width: int) -> float:
    """Bytes of the base model's weights at `width` bytes per weight. With quantisation, linear layers take their
    quantised size and all other weights 4 bytes each.
    """
    linear = sum(rows * columns for rows, columns in shape.linear_layers.values())
    rest = shape.parameters - linear
    match recipe.quantisation:
        case "nf4":
            return linear * (_NF4_DOUBLE if getattr(recipe.method, "double_quantisation", True) else _NF4) + rest * 4
        case "int8":
            return linear * _INT8 + rest * 4
    return shape.parameters * width


def activation_bytes(recipe: Recipe, shape: Shape, width: int) -> float:
    """Bytes that the forward pass saves for backward per token of the batch, over all layers.

    One block saves 6 vectors of the hidden size in 32 bit (norms and residuals), and at `width` bytes 2 of the
    key/value size and 4 of the intermediate size; in full fine-tuning 2.5 more hidden vectors in 32 bit; with dropout
    also each adapted layer's input and its mask. With gradient checkpointing only each block's input is saved, and one
    block at a time is recomputed (Chen 2016, arXiv:1604.06174).
    """
    if not shape.layers:
        return 0
    block = 24 * shape.hidden + width * (2 * shape.key_value_heads * shape.head_dim + 4 * shape.intermediate)
    if recipe.method.artefact_type == "model":
        block += 10 * shape.hidden
    dropout, targets = getattr(recipe.method, "dropout", 0), getattr(recipe.method, "targets", "")
    if dropout and targets:
        block += (width + 1) * sum(size for size, _ in shape.targets(targets).values()) / shape.layers
    block *= _HEAVIER.get(recipe.method.name, 1)
    if recipe.machine.gradient_checkpointing:
        return shape.layers * shape.hidden * width + block
    return shape.layers * block


def checkpoint_bytes(recipe: Recipe, shape: Shape) -> int:
    """Disk space of one checkpoint in bytes: trainable parameters in 32 bit and the state of the optimiser. A run that
    adapts keeps two earlier states as well.
    """
    states = 3 if recipe.training.adapt else 1
    return math.ceil(states * recipe.method.parameter_count(shape) * (4 + STATES[recipe.training.optimiser]))


def disk_bytes(recipe: Recipe, shape: Shape) -> int:
    """Disk space of a run in bytes: the checkpoints that are kept, one more while it is written, and the artefact."""
    training = recipe.training
    count = max(1, training.save_total_limit) + (training.keeps_best and training.evaluations > 0) + 1
    trained = recipe.method.parameter_count(shape)
    ships = 2 * shape.parameters if recipe.method.artefact_type == "model" else 4 * trained
    return math.ceil(count * checkpoint_bytes(recipe, shape) + ships)

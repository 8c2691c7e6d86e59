"""How much memory a run takes, added up part by part from the model's shape, in bytes.

The activation formula was read off what autograd keeps for a Qwen2 block (torch 2.13, peft 0.21, scaled-dot-product
attention, so nothing of size length²), to within 3 % over hidden, intermediate and key/value sizes. For another block
(GPT-2, OLMo) it is an estimate. It knows nothing about time, and nothing about the machine but CPU or GPU.
"""

from __future__ import annotations

import math

from studio.models.shape import Shape
from studio.recipe import Recipe

# Bytes of optimiser state for each trained number: two moments in 32 or 8 bit, one for Lion, sums of rows and
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
# 4 bits and their scales: one 32-bit scale for 64 weights, or quantised again to 0.127 bits (Dettmers 2023, arXiv:2305.14314, §3).
_NF4, _NF4_DOUBLE = (4 + 0.5) / 8, (4 + 0.127) / 8
_INT8 = 1.01  # one byte, and a scale for each row (Dettmers 2022, arXiv:2208.07339)
# A worker with torch, transformers and peft imported holds 0.49 GB (FACTS); a CUDA context and its libraries about as much.
PROCESS = {"cpu": 520_000_000, "cuda": 500_000_000}
_SLACK = 0.15  # of the activations: what the allocator holds but cannot use, and short-lived results
LABELLED = 0.8  # share of a batch's positions at which some row has a label, where nobody counted
# Times LoRA's activations, where a method's own layers keep much more (measured as above).
_HEAVIER = {"dora": 2.3}


def precision_of(recipe: Recipe, bf16: bool, device: str) -> str:
    """The precision that "auto" becomes: bf16 where a GPU has it, fp16 on older GPUs, fp32 on a CPU."""
    if recipe.machine.precision != "auto":
        return recipe.machine.precision
    return "fp32" if device == "cpu" else "bf16" if bf16 else "fp16"


def memory_parts(recipe: Recipe, shape: Shape, longest: int, *, device: str, precision: str) -> dict[str, int]:
    """Part → bytes at the heaviest moment: weights, gradients, optimiser, activations, logits, process.

    longest: tokens of the longest example. A batch of the longest ones does come, and is what must fit.
    """
    trained = recipe.method.parameter_count(shape)
    width = 4 if precision == "fp32" else 2
    whole = recipe.method.ships_as == "model"
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
    """The base model's weights: linear layers as quantised, the rest at `width` bytes (4 beside quantised ones)."""
    linear = sum(rows * columns for rows, columns in shape.linear_layers.values())
    rest = shape.parameters - linear
    match recipe.quantisation:
        case "nf4":
            return linear * (_NF4_DOUBLE if getattr(recipe.method, "double_quantisation", True) else _NF4) + rest * 4
        case "int8":
            return linear * _INT8 + rest * 4
    return shape.parameters * width


def activation_bytes(recipe: Recipe, shape: Shape, width: int) -> float:
    """What the forward pass keeps for one token of the batch, all layers.

    One block keeps 6 vectors of the hidden size in 32 bit (norms and residuals), and at `width` bytes 2 of the key/value
    size and 4 of the intermediate size; with every weight trained 2.5 hidden vectors more; with dropout each adapted layer's
    input again and its mask. With checkpointing only each block's input stays, and one block is recalculated (Chen 2016, arXiv:1604.06174).
    """
    if not shape.layers:
        return 0
    block = 24 * shape.hidden + width * (2 * shape.key_value_heads * shape.head_dim + 4 * shape.intermediate)
    if recipe.method.ships_as == "model":
        block += 10 * shape.hidden
    dropout, targets = getattr(recipe.method, "dropout", 0), getattr(recipe.method, "targets", "")
    if dropout and targets:
        block += (width + 1) * sum(size for size, _ in shape.targets(targets).values()) / shape.layers
    block *= _HEAVIER.get(recipe.method.name, 1)
    if recipe.machine.gradient_checkpointing:
        return shape.layers * shape.hidden * width + block
    return shape.layers * block


def disk_bytes(recipe: Recipe, shape: Shape) -> int:
    """What a run puts on disk: two checkpoints of the trainable parameters and their optimiser states, and what it ships."""
    trained = recipe.method.parameter_count(shape)
    ships = 2 * shape.parameters if recipe.method.ships_as == "model" else 4 * trained
    return math.ceil(2 * trained * (4 + STATES[recipe.training.optimiser]) + ships)

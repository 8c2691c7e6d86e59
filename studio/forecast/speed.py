"""How long a run takes: how many tokens it works through, how much arithmetic a token is, how fast the device is.

The speed of an earlier run with the same device, model and method counts before any table. It knows nothing about memory.
"""

from __future__ import annotations

import math

from studio.forecast.memory import LABELLED
from studio.hardware import Gpu, Hardware
from studio.models.shape import Shape
from studio.recipe import Recipe

# Dense 16-bit TFLOP/s from the makers' data sheets, by a part of the card's name; the first hit counts.
_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIE": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "A40": 150,
    "A6000": 155,
    "RTX 6000 ADA": 364,
    "RTX 5090": 210,
    "RTX 5080": 113,
    "RTX 4090": 165,
    "RTX 4080": 97,
    "RTX 3090": 71,
    "RTX 3080": 60,
    "V100": 125,
    "T4": 65,
}
_BY_CAPABILITY = {(7, 0): 60, (7, 5): 40, (8, 0): 150, (8, 6): 50, (8, 9): 80, (9, 0): 700, (10, 0): 1000, (12, 0): 100}
_USED = 0.35  # share of the data sheet's speed that training reaches with PEFT
_FP32 = 0.25  # 32-bit arithmetic against 16-bit on a GPU, TF32 not counted on
# GFLOP/s a core while training in fp32. AVX-512: 81 for two cores, from FACTS (plain Trainer, grouped: 2,030 tokens/s with 10 M parameters).
_CORE_AVX512, _CORE_PLAIN = 40e9, 20e9
_CORES_THAT_HELP = 16
_UNPACKING = {"none": 1.0, "int8": 1.6, "nf4": 1.4}  # work for quantised weights, against none
# Seconds that one layer costs however small it is: starting kernels, Python, autograd. CPU: the starter with LoRA, one thread.
_LAYER_TRAINED, _LAYER_FORWARD = {"cpu": 0.005, "cuda": 0.003}, {"cpu": 0.0014, "cuda": 0.0008}
_STEP = 0.015  # seconds a step for the optimiser, the record and the rest
_START = 2.0  # seconds from Start to the first step with a warm standby, and for saving and checking at the end
_READ = 1e9  # bytes of weights read a second
_ANSWER = 0.4  # share of "Answer length" that an answer has on average


def total_steps(recipe: Recipe, examples: int) -> int:
    """How many optimiser steps the run takes, as transformers' Trainer counts them."""
    training = recipe.training
    if training.max_steps:
        return training.max_steps
    batches = math.ceil(examples / training.batch_size)
    per_epoch = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    return max(1, math.ceil(round(training.epochs * per_epoch, 6)))


def padded_length(lengths: list[int], batch: int, grouped: bool) -> float:
    """Mean tokens that an example takes up in a batch, padding included.

    Ungrouped: the expected longest of `batch` random examples, Σ lᵢ·((i/n)^b − ((i−1)/n)^b) over sorted lengths.
    """
    mean = sum(lengths) / len(lengths)
    if grouped or batch == 1:
        return mean * (1.03 if batch > 1 else 1)
    count = len(lengths)
    return sum(
        length * ((at / count) ** batch - ((at - 1) / count) ** batch) for at, length in enumerate(sorted(lengths), 1)
    )


def flops_per_token(recipe: Recipe, shape: Shape, length: float) -> float:
    """Arithmetic for one trained token: 2 a weight forward, 2 for the gradient that flows on, 2 for the weight's own
    gradient where it is trained: 6·N, or 4·N on a frozen base (Kaplan 2020, arXiv:2001.08361, §2.1), and causal attention.
    Checkpointing runs forward twice."""
    matrices = shape.active_weights + LABELLED * shape.vocab_size * shape.hidden
    forward = 2 * matrices + 2 * shape.layers * length * shape.heads * shape.head_dim
    passes = 3 if recipe.method.ships_as == "model" else 2
    return forward * (passes + (1 if recipe.machine.gradient_checkpointing else 0) + recipe.task.reference_passes)


def device_flops(hardware: Hardware, device: str, precision: str) -> float:
    """Arithmetic a second that training reaches on `device`, from the tables above."""
    gpu = hardware.gpu(device)
    if gpu:
        return _gpu_tflops(gpu) * 1e12 * _USED * (_FP32 if precision == "fp32" else 1)
    core = _CORE_AVX512 if hardware.avx512 else _CORE_PLAIN
    if precision == "bf16":
        core *= 1.25 if hardware.bf16 else 0.3
    elif precision == "fp16":
        core *= 0.2
    return core * min(hardware.cores, _CORES_THAT_HELP)


def _gpu_tflops(gpu: Gpu) -> float:
    name = gpu.name.upper()
    for part, speed in _TFLOPS.items():
        if part in name:
            return speed
    known = [speed for capability, speed in _BY_CAPABILITY.items() if capability <= gpu.capability]
    return known[-1] if known else 10


def measured_throughput(store, device: str, recipe: Recipe) -> float | None:
    """Tokens a second of the last run with this device, model, method and task, as the worker noted it."""
    note = store.note(f"speed:{device}:{recipe.model.name}:{recipe.method.name}:{recipe.task.name}") if store else None
    return note["tokens_per_second"] if note and note.get("tokens_per_second", 0) > 0 else None


def seconds(
    recipe: Recipe,
    shape: Shape,
    lengths: list[int],
    *,
    steps: int,
    validation: float,
    hardware: Hardware,
    device: str,
    precision: str,
    speed: float | None,
) -> float:
    """From the click to the adapter: start, optimiser steps, evaluations, fixed prompts and the final answers.

    lengths: tokens of the examples. validation: validation examples. speed: learnt tokens a second, if any.
    """
    training = recipe.training
    kind = "cpu" if device == "cpu" else "cuda"
    mean = sum(lengths) / len(lengths)
    slower = _UNPACKING[recipe.quantisation]
    flops = device_flops(hardware, device, precision) / slower
    width = (
        padded_length(lengths, training.effective_batch, training.group_by_length or training.packing)
        + recipe.method.input_tokens
    )
    work = flops_per_token(recipe, shape, width) * recipe.method.rows
    examples = steps * training.effective_batch * recipe.task.sequences_per_example
    if speed:
        learning = examples * mean / speed
    else:
        passes = 1.5 if recipe.machine.gradient_checkpointing else 1
        learning = examples * width * work / flops + steps * (
            _STEP
            + training.gradient_accumulation_steps
            * shape.layers
            * (passes * _LAYER_TRAINED[kind] + recipe.task.reference_passes * _LAYER_FORWARD[kind])
        )
    forward = 2 * shape.parameters * recipe.method.rows / flops
    looking = (
        training.evaluations
        * validation
        * recipe.task.sequences_per_example
        * (1 + recipe.task.reference_passes)
        * (width * forward + shape.layers * _LAYER_FORWARD[kind] / training.batch_size)
    )
    asked = min(validation, training.evaluation_rows) if validation else 0
    prompts = training.evaluations * min(training.sample_prompts, validation)
    word = max(forward, shape.layers * _LAYER_FORWARD[kind])  # seconds for the next token of a small batch
    answers = (
        training.answer_length
        * _ANSWER
        * word
        * (2 * math.ceil(asked / 16) + math.ceil(prompts / max(1, training.sample_prompts or 1)))
    )
    answers += training.answer_length * _ANSWER * forward * (2 * asked + prompts)
    return _START + 2 * shape.bytes / _READ + learning + looking + answers

"""Estimate of a run's duration from its number of tokens, the FLOPs per token and the speed of the device.

A throughput measured in an earlier run with the same device, model, method and task takes precedence over the tables.
"""

from __future__ import annotations

import math

from studio.forecast.memory import LABELLED
from studio.hardware import Gpu, Hardware
from studio.models.shape import Shape
from studio.recipe import Recipe

# Dense 16-bit TFLOP/s from the manufacturers' data sheets, by a part of the card's name; the first match is used.
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
_USED = 0.35  # fraction of the data sheet's speed that training with PEFT reaches
_FP32 = 0.25  # speed of 32-bit relative to 16-bit arithmetic on a GPU, without TF32
# FLOP/s per core when training in fp32. AVX-512: 81 GFLOP/s for two cores, from FACTS.md (plain Trainer, grouped by
# length: 2,030 tokens/s with 10 M parameters).
_CORE_AVX512, _CORE_PLAIN = 40e9, 20e9
_CORES_THAT_HELP = 16
_UNPACKING = {"none": 1.0, "int8": 1.6, "nf4": 1.4}  # slowdown by quantisation
# Fixed seconds per layer, whatever its size: kernel launches, Python, autograd. CPU: measured with the starter model
# and LoRA, one thread.
_LAYER_TRAINED, _LAYER_FORWARD = {"cpu": 0.005, "cuda": 0.003}, {"cpu": 0.0014, "cuda": 0.0008}
_STEP = 0.015  # fixed seconds per step for the optimiser, recording and the rest
_START = 2.0  # seconds from Start to the first step with a standby worker, plus saving and checking at the end
_READ = 1e9  # bytes of weights read per second
_ANSWER = 0.4  # assumed mean length of an answer as a fraction of "Answer length"


def total_steps(recipe: Recipe, examples: int) -> int:
    """The number of optimiser steps of the run, counted as transformers' Trainer counts them."""
    training = recipe.training
    if training.max_steps:
        return training.max_steps
    batches = math.ceil(examples / training.batch_size)
    per_epoch = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    return max(1, math.ceil(training.epochs * per_epoch))


def padded_length(lengths: list[int], batch: int, grouped: bool) -> float:
    """Mean number of tokens per example in a batch, padding included. grouped: by length.

    Ungrouped: the expected maximum of `batch` random lengths, Σ lᵢ·((i/n)^b − ((i−1)/n)^b) over sorted lengths.
    """
    mean = sum(lengths) / len(lengths)
    if grouped or batch == 1:
        return mean * (1.03 if batch > 1 else 1)
    count = len(lengths)
    return sum(
        length * ((at / count) ** batch - ((at - 1) / count) ** batch) for at, length in enumerate(sorted(lengths), 1)
    )


def flops_per_token(recipe: Recipe, shape: Shape, length: float) -> float:
    """FLOPs per token of a training step: per weight 2 for the forward pass, 2 for the gradient of the input and, if
    the weight is trainable, 2 for its own gradient, that is 6·N, or 4·N on a frozen base model (Kaplan 2020,
    arXiv:2001.08361, §2.1); plus causal attention. Gradient checkpointing repeats the forward pass.

    length: tokens per row.
    """
    matrices = shape.active_weights + LABELLED * shape.vocab_size * shape.hidden
    forward = 2 * matrices + 2 * shape.layers * length * shape.heads * shape.head_dim
    passes = 3 if recipe.method.artefact_type == "model" else 2
    return forward * (passes + (1 if recipe.machine.gradient_checkpointing else 0) + recipe.task.reference_passes)


def device_flops(hardware: Hardware, device: str, precision: str) -> float:
    """Estimated FLOP/s that training reaches on `device`, from the tables above."""
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
    """Tokens per second of the last run with this device, model, method and task, as stored by the worker; None if
    there was none.
    """
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
    """Seconds from Start to the saved adapter: start-up, optimiser steps, evaluations, sample prompts, final answers.

    lengths: of the examples, in tokens. validation: number of validation examples. speed: measured training
    throughput in tokens per second, if known.
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
        training.planned_evaluations
        * validation
        * recipe.task.sequences_per_example
        * (1 + recipe.task.reference_passes)
        * (width * forward + shape.layers * _LAYER_FORWARD[kind] / training.batch_size)
    )
    asked = min(validation, training.evaluation_rows) if validation else 0
    prompts = training.evaluations * min(training.sample_prompts, validation)
    word = max(forward, shape.layers * _LAYER_FORWARD[kind])  # seconds to generate one token for a small batch
    answers = (
        training.answer_length
        * _ANSWER
        * word
        * (2 * math.ceil(asked / 16) + math.ceil(prompts / max(1, training.sample_prompts or 1)))
    )
    answers += training.answer_length * _ANSWER * forward * (2 * asked + prompts)
    return _START + 2 * shape.bytes / _READ + learning + looking + answers

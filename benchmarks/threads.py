"""Seconds for one LoRA step of the starter with one thread and with all cores, alone and beside a busy process,
interleaved.

    python benchmarks/threads.py

Why `studio.models.load.share_the_cores` gives small models one thread.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROUNDS, STEPS = 5, 8


def busy() -> None:
    """What another program on the machine does: calculate."""
    import torch

    a = torch.randn(256, 256)
    while True:
        a = (a @ a).clamp(-1, 1)


def step_seconds(model, optimiser, threads: int) -> list[float]:
    import torch

    torch.set_num_threads(threads)
    ids, kept = torch.randint(0, 2000, (8, 36)), torch.arange(18, 35)
    found = []
    for _ in range(STEPS):
        began = time.perf_counter()
        logits = model(input_ids=ids, logits_to_keep=kept, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 19:36].flatten()).backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    import torch

    from studio.home import STARTER
    from studio.methods.lora import LoRA
    from studio.models.load import load_base

    cores = multiprocessing.cpu_count()
    model = LoRA().wrap(load_base(STARTER)).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, fused=True)
    step_seconds(model, optimiser, 1)
    for where in ("alone", "beside a busy process"):
        other = multiprocessing.get_context("spawn").Process(target=busy, daemon=True)
        if where != "alone":
            other.start()
            time.sleep(4)  # its imports
        times: dict[int, list[float]] = {1: [], cores: []}
        for _ in range(ROUNDS):
            for threads in times:
                times[threads] += step_seconds(model, optimiser, threads)
        if where != "alone":
            other.kill()
        for threads, seconds in times.items():
            print(
                f"{where}: {threads} thread(s) {statistics.median(seconds):.3f} s a step (mean "
                f"{statistics.mean(seconds):.3f}, worst {max(seconds):.3f})"
            )


if __name__ == "__main__":
    main()

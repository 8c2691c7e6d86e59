"""Times LongLoRA's shifted attention against full attention, forward and backward, interleaved.

    python benchmarks/longlora.py [--length 4096] [--group 1024] [--rounds 12] [--save]

Both arms get the same queries, keys and values (1 × 8 heads × length × 64, fp32, CPU, one thread). A round is full,
shifted, or shifted, full, in turns. The figure is the time of full over the time of shifted in the same round, as the
median over the rounds with its smallest and largest; the paper's claim that is checked here is a ratio of at least 2 at
4096 tokens. It knows nothing about models: attention is only a part of their time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn.functional import scaled_dot_product_attention

from studio import hardware
from studio.tuners.shifted_attention import shifted_attention

TARGET = 2.0
RESULTS = Path(__file__).resolve().parent / "results"


def seconds(attend, parts: list[torch.Tensor]) -> float:
    """CPU seconds of one forward and backward."""
    began = time.process_time()
    attend(*parts).sum().backward()
    spent = time.process_time() - began
    for part in parts:
        part.grad = None
    return spent


def measure(length: int, group: int, rounds: int) -> dict:
    """All figures of one run."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = [torch.randn(1, 8, length, 64, requires_grad=True) for _ in range(3)]
    arms = {
        "full": lambda *qkv: scaled_dot_product_attention(*qkv, is_causal=True),
        "shifted": lambda *qkv: shifted_attention(*qkv, group),
    }
    times: dict[str, list[float]] = {name: [] for name in arms}
    for at in range(-1, rounds):
        for name in ("full", "shifted")[:: 1 if at % 2 else -1]:
            spent = seconds(arms[name], parts)
            if at >= 0:  # the first round warms up
                times[name].append(spent)
    ratios = [full / shifted for full, shifted in zip(times["full"], times["shifted"], strict=True)]
    return {
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "low": round(min(ratios), 2),
            "high": round(max(ratios), 2),
            "target": TARGET,
        },
        **{f"{name}_ms": round(1000 * statistics.median(values), 1) for name, values in times.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--length", type=int, default=4096, help="tokens")
    parser.add_argument("--group", type=int, default=1024, help="tokens of a group, even")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/longlora-cpu.json")
    options = parser.parse_args()
    found = hardware.machine()
    head = {
        "machine": platform.node(),
        "cpu": found.cpu,
        "cores": found.cores,
        "torch": torch.__version__,
        "load": [round(load, 1) for load in os.getloadavg()],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/longlora.py", *sys.argv[1:]]),
    }
    figures = measure(options.length, options.group, options.rounds)
    print(json.dumps(head))
    print(
        f"full {figures['full_ms']} ms, shifted {figures['shifted_ms']} ms of CPU time: {figures['ratio']['median']}× "
        "faster "
        f"({figures['ratio']['low']} to {figures['ratio']['high']}); target {TARGET}×"
    )
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "longlora-cpu.json").write_text(
            json.dumps({**head, "figures": figures}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

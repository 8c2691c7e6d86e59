"""How much memory each device has and uses: RAM by psutil and the container's limit, GPUs by nvidia-smi.

It never asks torch, because asking would start CUDA in this process and take GPU memory. Sizes in bytes.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil

_QUERY = ["--query-gpu=index,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits"]
# (limit, use, statistics, key of the page cache that can be dropped): control groups version 2, then 1
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def sample() -> dict[str, dict]:
    """Device → {"used", "total"} in bytes; GPUs ("cuda:0", …) also {"busy"}: percent of the last second."""
    return {"cpu": system()} | gpus()


def system(root: Path = Path("/sys/fs/cgroup")) -> dict[str, int]:
    """RAM in use and in all: what a container may use, where it is less than the machine has."""
    machine = psutil.virtual_memory()
    for limit_file, use_file, statistics, cache in _CGROUPS:
        try:
            limit, use = (root / limit_file).read_text().strip(), int((root / use_file).read_text())
            lines = dict(line.split() for line in (root / statistics).read_text().splitlines())
        except (OSError, ValueError):
            continue  # not this version, or not in a container
        if limit != "max" and int(limit) < machine.total:
            return {"used": max(0, use - int(lines.get(cache, 0))), "total": int(limit)}
    return {"used": machine.total - machine.available, "total": machine.total}


def gpus() -> dict[str, dict]:
    """NVIDIA GPUs by nvidia-smi, in its order; empty without it or if it does not answer."""
    program = shutil.which("nvidia-smi")
    if not program:
        return {}
    try:
        answer = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(answer)


def parse(answer: str) -> dict[str, dict]:
    """The lines "index, used MiB, total MiB, percent" as `gpus` returns them; "[N/A]" if a card hides it."""
    found = {}
    for line in answer.splitlines():
        index, used, total, busy = (part.strip() for part in line.split(","))
        if used.isdigit() and total.isdigit():
            found[f"cuda:{index}"] = {"used": int(used) << 20, "total": int(total) << 20} | (
                {"busy": int(busy)} if busy.isdigit() else {}
            )
    return found

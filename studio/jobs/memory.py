"""Total and used memory of each device in bytes: RAM from psutil and the cgroup's limit, GPUs from nvidia-smi.

torch is not used, because it would initialise CUDA in this process and take GPU memory.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil

_QUERY = ["--query-gpu=index,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits"]
# (limit, usage, statistics, key of the reclaimable page cache in them): cgroup version 2, then 1
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def sample() -> dict[str, dict]:
    """Device → {"used", "total"} in bytes; GPUs ("cuda:0", …) may also have "busy", their utilisation in percent."""
    return {"cpu": system()} | gpus()


def system(root: Path = Path("/sys/fs/cgroup")) -> dict[str, int]:
    """Used and total RAM in bytes: of the cgroup if its limit is below the machine's total, else of the machine."""
    machine = psutil.virtual_memory()
    for limit_file, use_file, statistics, cache in _CGROUPS:
        try:
            limit, use = (root / limit_file).read_text().strip(), int((root / use_file).read_text())
            lines = dict(line.split() for line in (root / statistics).read_text().splitlines())
        except (OSError, ValueError):
            continue  # another cgroup version, or no cgroup
        if limit != "max" and int(limit) < machine.total:
            return {"used": max(0, use - int(lines.get(cache, 0))), "total": int(limit)}
    return {"used": machine.total - machine.available, "total": machine.total}


def gpus() -> dict[str, dict]:
    """Memory of the NVIDIA GPUs, in the order of nvidia-smi; empty if nvidia-smi is missing or fails."""
    program = shutil.which("nvidia-smi")
    if not program:
        return {}
    try:
        answer = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(answer)


def parse(answer: str) -> dict[str, dict]:
    """Parse lines "index, used MiB, total MiB, utilisation in %"; "[N/A]" stands for values that are not reported."""
    found = {}
    for line in answer.splitlines():
        index, used, total, busy = (part.strip() for part in line.split(","))
        if used.isdigit() and total.isdigit():
            found[f"cuda:{index}"] = {"used": int(used) << 20, "total": int(total) << 20} | (
                {"busy": int(busy)} if busy.isdigit() else {}
            )
    return found

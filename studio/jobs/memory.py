"""What each device has and does: RAM from psutil and the cgroup's limit; GPUs from nvidia-smi, which asks NVML.

torch is not used, because it would initialise CUDA in this process and take GPU memory.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil

_QUERY = [
    "--query-gpu=index,memory.used,memory.total,utilization.gpu,temperature.gpu,power.draw",
    "--format=csv,noheader,nounits",
]
# (limit, usage, statistics, key of the reclaimable page cache in them): cgroup version 2, then 1
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def sample() -> dict[str, dict]:
    """Device → {"used", "total"} in bytes and "busy", its utilisation in percent since the last call.

    GPUs ("cuda:0", …) may also have "temperature" in °C and "power" in W; what a device does not tell is left out.
    """
    return {"cpu": {**system(), "busy": psutil.cpu_percent()}} | gpus()


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
    """Parse lines "index, used MiB, total MiB, utilisation in %, °C, W"; "[N/A]" stands for what is not reported."""
    found = {}
    for line in answer.splitlines():
        index, used, total, *more = (part.strip() for part in line.split(","))
        if used.isdigit() and total.isdigit():
            told = {key: _number(text) for key, text in zip(("busy", "temperature", "power"), more, strict=False)}
            found[f"cuda:{index}"] = {"used": int(used) << 20, "total": int(total) << 20} | {
                key: value for key, value in told.items() if value is not None
            }
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""Detect the hardware of this machine: CPU, memory and GPUs.

Uses psutil and cgroups for memory, /proc/cpuinfo for the CPU and `nvidia-smi` for GPUs, and never torch, because the
window process calls it too. Independent of recipes. Memory is in bytes; displayed values are in GB of 2³⁰ bytes, as
memory and graphics cards are labelled.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from studio.words import Sentence, StudioError

GB = 2**30
_QUERY = "index,uuid,name,memory.total,memory.free,compute_cap,driver_version"
_TIMEOUT = 5.0  # seconds to wait for nvidia-smi; an idle driver needs one or two to wake up
_FRESH = 5.0  # seconds for which the output of nvidia-smi is cached
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    index: N in the device name `cuda:N`. memory, free: bytes. capability: compute capability, (0, 0) if unknown.
    """

    index: int
    name: str
    memory: int
    free: int
    capability: tuple[int, int]
    driver: str

    @property
    def device(self) -> str:
        return f"cuda:{self.index}"

    @property
    def bf16(self) -> bool:
        """Whether the GPU supports bf16 arithmetic: compute capability 8.0 (Ampere) or later."""
        return self.capability >= (8, 0)


@dataclass(frozen=True)
class Hardware:
    """This machine.

    cores: physical cores available to this process. memory, free: bytes of RAM. bf16: whether the CPU has bf16
    instructions. unusable: why GPUs that are present cannot be used, else None.
    """

    cpu: str
    cores: int
    memory: int
    free: int
    bf16: bool
    avx512: bool = False
    gpus: tuple[Gpu, ...] = ()
    unusable: Sentence | None = None

    def gpu(self, device: str) -> Gpu | None:
        """The GPU with the device name `device` ("cuda:1"); None for the CPU or a GPU that does not exist."""
        return next((gpu for gpu in self.gpus if gpu.device == device), None)

    def memory_of(self, device: str) -> int:
        gpu = self.gpu(device)
        return gpu.memory if gpu else self.memory

    def free_on(self, device: str) -> int:
        gpu = self.gpu(device)
        return gpu.free if gpu else self.free

    def bf16_on(self, device: str) -> bool:
        gpu = self.gpu(device)
        return gpu.bf16 if gpu else self.bf16

    def short(self, device: str = "cpu") -> Sentence:
        """A short name of the device, as in "… on this CPU"."""
        gpu = self.gpu(device)
        return Sentence("{name}", name=_short_name(gpu.name)) if gpu else Sentence("this CPU")

    def title(self, device: str = "cpu") -> Sentence:
        """The name of the device with its size, as in "this CPU (2 cores, 23 GB)"."""
        gpu = self.gpu(device)
        if gpu:
            return Sentence("{name} ({memory} GB)", name=_short_name(gpu.name), memory=gigabytes(gpu.memory))
        if self.cores == 1:
            return Sentence("this CPU (1 core, {memory} GB)", memory=gigabytes(self.memory))
        return Sentence("this CPU ({cores} cores, {memory} GB)", cores=self.cores, memory=gigabytes(self.memory))


def gigabytes(size: float) -> str:
    """Format bytes as GB: two decimals below 0.1, one below 10, else none ("0.05", "0.9", "7.4", "23")."""
    value = size / GB
    if value < 0.1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def machine() -> Hardware:
    """The current state of this machine. Cheap: constants are cached, and the output of `nvidia-smi` for `_FRESH` s."""
    total, free = _memory()
    name, avx512, bf16 = _cpu()
    gpus = _gpus()
    unusable = _unusable(len(gpus)) if gpus else None
    return Hardware(name, _cores(), total, free, bf16, avx512, () if unusable else gpus, unusable)


def choose_device(wanted: str = "auto", hardware: Hardware | None = None, busy: Collection[str] = ()) -> str:
    """Resolve the requested device of a run to "cpu" or "cuda:N".

    "auto" gives the first GPU that is not in `busy`, the GPU with the most free memory if all are busy, and the CPU if
    there is no GPU. Raises `StudioError` for a device that this machine does not have.
    """
    hardware = hardware or machine()
    if wanted == "cpu":
        return "cpu"
    if wanted == "auto":
        idle = [gpu.device for gpu in hardware.gpus if gpu.device not in busy]
        roomy = sorted(hardware.gpus, key=lambda gpu: gpu.free, reverse=True)
        return (idle or [gpu.device for gpu in roomy] or ["cpu"])[0]
    if hardware.gpu(wanted):
        return wanted
    if hardware.unusable:
        raise StudioError("'{device}' cannot be used. {reason}", device=wanted, reason=hardware.unusable)
    if not hardware.gpus:
        raise StudioError("This machine has no GPU, so '{device}' cannot be used; choose auto or cpu.", device=wanted)
    present = ", ".join(gpu.device for gpu in hardware.gpus)
    raise StudioError(
        "There is no device '{device}' here; choose auto, cpu or one of {present}.", device=wanted, present=present
    )


def _short_name(name: str) -> str:
    """A GPU's name without vendor and brand: "NVIDIA GeForce RTX 4090" → "RTX 4090"."""
    return re.sub(r"^(NVIDIA|Tesla|GeForce)\s+", "", re.sub(r"^NVIDIA\s+", "", name)) or name


# ---- CPU and memory ---------------------------------------------------------------------------------------------


@cache
def _cpu() -> tuple[str, bool, bool]:
    """(model name, whether it has AVX-512, whether it has bf16 instructions)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine() or "CPU", False, False
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})  # "bf16" is the name of the flag on ARM
    return name.group(1).strip() if name else platform.machine(), "avx512f" in flags, bf16


def _cores() -> int:
    """Number of physical cores, limited by the CPU affinity of this process and by the CPU quota of its cgroup."""
    logical = psutil.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    physical = psutil.cpu_count(logical=False) or logical
    paid = _cpu_quota()
    return max(1, min(physical, allowed, math.ceil(paid) if paid else physical))


def _cpu_quota() -> float | None:
    """CPU quota of the cgroup in cores; None without a limit."""
    for folder in _cgroup_folders():
        parts = _words(folder / "cpu.max")
        if len(parts) == 2 and parts[0] != "max":
            return int(parts[0]) / int(parts[1])
    quota, period = (_number(_CGROUP / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None


def _memory() -> tuple[int, int]:
    """(total, available) memory in bytes: of the machine, or of its cgroup where that is less."""
    now = psutil.virtual_memory()
    total, free = now.total, now.available
    places = [
        (folder / "memory.max", folder / "memory.current", folder / "memory.stat") for folder in _cgroup_folders()
    ]
    old = _CGROUP / "memory"
    places.append((old / "memory.limit_in_bytes", old / "memory.usage_in_bytes", old / "memory.stat"))
    for limit_file, usage_file, stat_file in places:
        limit, used = _number(limit_file), _number(usage_file)
        if limit is None or used is None or limit >= now.total:
            continue
        free = min(free, max(0, limit - used + _reclaimable(stat_file)))
        total = min(total, limit)
    return total, free


def _reclaimable(path: Path) -> int:
    """Bytes of page cache that the kernel can reclaim, from the cgroup's memory.stat at `path`."""
    sizes = dict(line.split()[:2] for line in _lines(path) if " " in line)
    return int(sizes.get("total_inactive_file", sizes.get("inactive_file", 0)))


def _cgroup_folders() -> list[Path]:
    """The folders of this process's cgroup (version 2) and of its ancestors, innermost first."""
    own = next((line.split("::", 1)[1] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "/")
    folder = _CGROUP / own.strip("/")
    return [folder, *[parent for parent in folder.parents if parent == _CGROUP or _CGROUP in parent.parents]]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].lstrip("-").isdigit() else None


# ---- GPUs ---------------------------------------------------------------------------------------------------------

_seen: tuple[float, tuple[Gpu, ...]] = (-math.inf, ())


def _gpus() -> tuple[Gpu, ...]:
    """The GPUs visible to this process, numbered as in `studio.jobs`; the last known ones if `nvidia-smi` fails."""
    global _seen
    if time.monotonic() - _seen[0] < _FRESH:
        return _seen[1]
    tool = shutil.which("nvidia-smi")
    gpus = _seen[1] if tool else ()
    if tool:
        try:
            answer = subprocess.run(
                [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
            )
            gpus = parse_gpus(answer.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))
        except (OSError, subprocess.SubprocessError):
            pass
    _seen = (time.monotonic(), gpus)
    return gpus


def parse_gpus(text: str, visible: str | None = None) -> tuple[Gpu, ...]:
    """Parse the CSV output of `nvidia-smi`.

    visible: CUDA_VISIBLE_DEVICES (indices or UUIDs), which selects and renumbers the GPUs.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if len(row) == 7]
    if visible is not None:
        rows = [row for entry in visible.split(",") if entry.strip() for row in rows if _means(entry.strip(), row)]
    gpus = []
    for index, (_, _, name, total, free, capability, driver) in enumerate(rows):
        if not (total.isdigit() and free.isdigit()):
            continue  # "[N/A]": the GPU is lost or partitioned (MIG)
        numbers = tuple(int(part) for part in capability.split(".") if part.isdigit())
        gpus.append(Gpu(index, name, int(total) * 2**20, int(free) * 2**20, (*numbers, 0, 0)[:2], driver))
    return tuple(gpus)


def _means(entry: str, row: list[str]) -> bool:
    return entry == row[0] or (entry.startswith("GPU-") and row[1].startswith(entry))


def _unusable(count: int) -> Sentence | None:
    version = _torch_version()
    if version.endswith("+cpu"):
        return Sentence(
            "The installed torch ({version}) was built for CPUs only, so {count} {count:GPU|GPUs} cannot be used; "
            "install a CUDA build of torch.",
            version=version,
            count=count,
        )
    return None


@cache
def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""

"""What this machine can do: its CPU, its memory, its GPUs.

Read without torch, because the window asks too: psutil and cgroups for the memory, /proc/cpuinfo for the CPU,
`nvidia-smi` for the GPUs. It knows nothing about recipes. Memory is in bytes; a person reads GB of 2³⁰ bytes, as on the
boxes of memory and graphics cards.
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
_TIMEOUT = 5.0  # seconds that nvidia-smi may take; a sleeping driver needs one or two
_FRESH = 5.0  # seconds for which an answer of nvidia-smi counts as new
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU. index: as `cuda:INDEX`. capability: compute capability, (0, 0) where unknown."""

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
        """Ampere (8.0) and later multiply in bf16."""
        return self.capability >= (8, 0)


@dataclass(frozen=True)
class Hardware:
    """This machine. cores: physical cores that this process may use. bf16: the CPU multiplies in bf16.

    unusable: why GPUs that are there cannot be used, else None.
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
        """The GPU called `device` ("cuda:1"); None for the CPU and for one that is not there."""
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
        """The device in two words, as in "… on this CPU"."""
        gpu = self.gpu(device)
        return Sentence("{name}", name=_short_name(gpu.name)) if gpu else Sentence("this CPU")

    def title(self, device: str = "cpu") -> Sentence:
        """The device with its size, as in "this CPU (2 cores, 23 GB)"."""
        gpu = self.gpu(device)
        if gpu:
            return Sentence("{name} ({memory} GB)", name=_short_name(gpu.name), memory=gigabytes(gpu.memory))
        if self.cores == 1:
            return Sentence("this CPU (1 core, {memory} GB)", memory=gigabytes(self.memory))
        return Sentence("this CPU ({cores} cores, {memory} GB)", cores=self.cores, memory=gigabytes(self.memory))


def gigabytes(size: float) -> str:
    """Bytes as GB with two significant digits: "0.05", "0.9", "7.4", "23"."""
    value = size / GB
    if value < 0.1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def machine() -> Hardware:
    """This machine as it is now. Cheap: what cannot change is read once, `nvidia-smi` every few seconds."""
    total, free = _memory()
    name, avx512, bf16 = _cpu()
    gpus = _gpus()
    unusable = _unusable(len(gpus)) if gpus else None
    return Hardware(name, _cores(), total, free, bf16, avx512, () if unusable else gpus, unusable)


def choose_device(wanted: str = "auto", hardware: Hardware | None = None, busy: Collection[str] = ()) -> str:
    """The device that a run gets: "cpu" or "cuda:N".

    "auto" is the first GPU that is not `busy`; where all are, the one with most free memory; without a GPU the CPU.
    Raises `StudioError` for a device that this machine does not have.
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
    """A GPU's name without the maker: "NVIDIA GeForce RTX 4090" → "RTX 4090"."""
    return re.sub(r"^(NVIDIA|Tesla|GeForce)\s+", "", re.sub(r"^NVIDIA\s+", "", name)) or name


# ---- CPU and memory ---------------------------------------------------------------------------------------------


@cache
def _cpu() -> tuple[str, bool, bool]:
    """(name, has AVX-512, multiplies in bf16)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine() or "CPU", False, False
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})  # "bf16" is what ARM calls it
    return name.group(1).strip() if name else platform.machine(), "avx512f" in flags, bf16


def _cores() -> int:
    """Physical cores, no more than this process may run on and its cgroup pays for."""
    logical = psutil.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    physical = psutil.cpu_count(logical=False) or logical
    paid = _cpu_quota()
    return max(1, min(physical, allowed, math.ceil(paid) if paid else physical))


def _cpu_quota() -> float | None:
    """Cores' worth of time that the cgroup grants, None without a limit."""
    for folder in _cgroup_folders():
        parts = _words(folder / "cpu.max")
        if len(parts) == 2 and parts[0] != "max":
            return int(parts[0]) / int(parts[1])
    quota, period = (_number(_CGROUP / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None


def _memory() -> tuple[int, int]:
    """(total, available) bytes: the machine's, or the cgroup's where that is less."""
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
    """Bytes of file cache that the kernel gives back when asked."""
    sizes = dict(line.split()[:2] for line in _lines(path) if " " in line)
    return int(sizes.get("total_inactive_file", sizes.get("inactive_file", 0)))


def _cgroup_folders() -> list[Path]:
    """This process's cgroup (version 2) and those above it, innermost first."""
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
    """The GPUs this process may use, numbered as `studio.jobs` numbers them; a hanging driver leaves the last answer."""
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
    """`nvidia-smi`'s lines as GPUs. visible: CUDA_VISIBLE_DEVICES (numbers or UUIDs), which also renumbers them."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if len(row) == 7]
    if visible is not None:
        rows = [row for entry in visible.split(",") if entry.strip() for row in rows if _means(entry.strip(), row)]
    gpus = []
    for index, (_, _, name, total, free, capability, driver) in enumerate(rows):
        if not (total.isdigit() and free.isdigit()):
            continue  # "[N/A]": a card that is lost or split up
        numbers = tuple(int(part) for part in capability.split(".") if part.isdigit())
        gpus.append(Gpu(index, name, int(total) * 2**20, int(free) * 2**20, (*numbers, 0, 0)[:2], driver))
    return tuple(gpus)


def _means(entry: str, row: list[str]) -> bool:
    return entry == row[0] or (entry.startswith("GPU-") and row[1].startswith(entry))


def _unusable(count: int) -> Sentence | None:
    version = _torch_version()
    if version.endswith("+cpu"):
        return Sentence(
            "The installed torch ({version}) was built for CPUs only, so {count} GPU cannot be used; install a CUDA build of torch.",
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

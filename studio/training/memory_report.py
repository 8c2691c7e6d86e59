"""What the worker records when memory runs out: how much the run needed, how much there was, and which batch fits."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import torch

from studio import hardware
from studio.forecast.memory import memory_parts, precision_of
from studio.jobs.job import Job
from studio.models.shape import Shape
from studio.recipe import Recipe

_ASKED = re.compile(r"(?:tried to allocate|allocate) ([\d.]+) ?(bytes|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MARGIN = 0.1  # share of the memory that is left to others
# The run ended at the first allocation that failed; what it still wanted is unknown, and grows with the batch.
_UNSEEN = 4


def record(job: Job, recipe: Recipe, shape: Shape, longest: int, error: BaseException) -> None:
    """Add the event "memory": {"needed", "free"} in bytes, and {"batch_size", "checkpointing"} that would fit.

    longest: tokens of the longest example.
    """
    used, free = _used_and_free(job)
    precision = precision_of(recipe, hardware.machine().bf16_on(job.device), job.device)
    parts = memory_parts(recipe, shape, longest, device=job.device, precision=precision)
    needed = max(used + asked_bytes(str(error)), sum(parts.values()), free + 1)
    by_batch = parts["activations"] + parts["logits"]
    size, checkpointing = fitting(recipe, needed, by_batch, (1 - _MARGIN) * free)
    facts = {"needed": needed, "free": free, "batch_size": size, "checkpointing": checkpointing}
    job.store.add_event("memory", facts, run_id=job.run_id, job_id=job.id)


def fitting(recipe: Recipe, needed: float, by_batch: float, room: float) -> tuple[int, bool]:
    """(largest batch size from repeated halving that fits into `room`, whether even that needs checkpointing).

    needed: bytes with the present batch; by_batch: the part of the forecast that grows with the batch.
    """
    batch = recipe.training.batch_size
    fixed, size = needed - min(by_batch, 0.9 * needed), batch
    while size > 1:
        size //= 2
        if fixed + _UNSEEN * (needed - fixed) * size / batch <= room:
            return size, False
    return 1, True


def asked_bytes(message: str) -> int:
    """The size in bytes of the allocation that failed, as torch's messages say it; 0 if they do not."""
    found = _ASKED.search(message)
    return int(float(found.group(1)) * _UNITS[(found.group(2) or "bytes").lower()]) if found else 0


def _used_and_free(job: Job) -> tuple[int, int]:
    """(bytes that this process uses, bytes that it can use in all) on the job's device."""
    if job.device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info()
        used = torch.cuda.memory_reserved()
        return torch.cuda.max_memory_allocated(), used + free
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit != resource.RLIM_INFINITY:
        return int(status["VmData"].split()[0]) * 1024, limit
    resident = int(status["VmRSS"].split()[0]) * 1024
    return resident, resident + hardware.machine().free

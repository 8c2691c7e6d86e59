"""The checkpoints of a run on disk: list them, find the last and the best one, delete those beyond the rule.

A checkpoint is a folder `checkpoint-STEP`. It is complete once it holds the file `whole`, which is written last and
removed first; a folder without it was left by a killed process or a full disk. Imports no torch.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from studio.words import StudioError

WHOLE = "whole"  # JSON with the facts of the checkpoint; empty in those of earlier versions
_PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    epoch, loss, eval_loss: as recorded at its step, else None. steps: planned length of the run that wrote it, if
    known. size: bytes on disk. time: seconds since the epoch.
    """

    folder: Path
    step: int
    epoch: float | None
    loss: float | None
    eval_loss: float | None
    steps: int | None
    size: int
    time: float


@dataclass(frozen=True)
class Rule:
    """Which checkpoints are kept: the `last` newest ones and, with `best`, that of the lowest validation loss."""

    last: int = 2
    best: bool = True


def checkpoint_folder(parent: Path, step: int) -> Path:
    return parent / f"{_PREFIX}{step}"


def adapter_id(run_id: str, step: int) -> str:
    """The id in the library of the adapter that is made from the checkpoint at `step`."""
    return f"{run_id}-step-{step}"


def finish(folder: Path, facts: dict) -> None:
    """Flush the files of a checkpoint to the disk and mark it as complete. facts: epoch, loss, eval_loss, steps."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    _write_facts(folder, {**facts, "time": time.time()})


def add_facts(folder: Path, facts: dict) -> None:
    """Add `facts` to those of a complete checkpoint; one that is not complete, or not there, stays as it is."""
    whole = folder / WHOLE
    if whole.exists():
        _write_facts(folder, {**json.loads(whole.read_text(encoding="utf-8") or "{}"), **facts})


def _write_facts(folder: Path, facts: dict) -> None:
    half = folder / f"{WHOLE}.half"
    half.write_text(json.dumps(facts), encoding="utf-8")
    half.replace(folder / WHOLE)


def listed(parent: Path) -> list[Checkpoint]:
    """The complete checkpoints in `parent`, which need not exist, in the order of their steps."""
    found = []
    for folder in parent.glob(f"{_PREFIX}*"):
        step = folder.name.removeprefix(_PREFIX)
        try:
            text = (folder / WHOLE).read_text(encoding="utf-8")
            size = sum(path.stat().st_size for path in folder.iterdir())
        except OSError:  # not complete, or deleted meanwhile
            continue
        facts = json.loads(text or "{}")
        known = {key: facts.get(key) for key in ("epoch", "loss", "eval_loss", "steps")}
        if step.isdigit():
            found.append(Checkpoint(folder, int(step), size=size, time=facts.get("time", 0.0), **known))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def last(parent: Path) -> Checkpoint | None:
    """The newest complete checkpoint in `parent`."""
    return next(reversed(listed(parent)), None)


def best(found: list[Checkpoint]) -> Checkpoint | None:
    """The checkpoint with the lowest validation loss; None if none was evaluated at its step."""
    return min((item for item in found if item.eval_loss is not None), key=lambda item: item.eval_loss, default=None)


def find(parent: Path, step: int) -> Checkpoint:
    """The complete checkpoint at `step`; raises StudioError if it is not kept."""
    found = next((item for item in listed(parent) if item.step == step), None)
    if found is None:
        raise StudioError("The checkpoint of step {step} is not kept any more; choose another one.", step=step)
    return found


def prune(parent: Path, rule: Rule) -> None:
    """Delete the checkpoints that `rule` does not keep, and incomplete ones. Not while one is being written."""
    found = listed(parent)
    kept = {item.step for item in (found[-rule.last :] if rule.last else [])}
    if rule.best and (chosen := best(found)):
        kept.add(chosen.step)
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.name.removeprefix(_PREFIX) not in {str(step) for step in kept}:
            delete(folder)


def delete(folder: Path) -> None:
    """Delete a checkpoint; if the process is killed meanwhile, it counts as incomplete."""
    (folder / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def copy(source: Checkpoint, parent: Path, without: tuple[str, ...] = ()) -> None:
    """Copy a checkpoint into `parent`, where it appears complete or not at all. without: patterns of files left out."""
    target = checkpoint_folder(parent, source.step)
    half = target.with_name(f".half-{target.name}")
    shutil.rmtree(half, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source.folder, half, ignore=shutil.ignore_patterns(*without))
    except (OSError, shutil.Error) as error:
        if not source.folder.exists():
            raise StudioError(
                "The checkpoint of step {step} is not kept any more; choose another one.", step=source.step
            ) from error
        raise
    half.replace(target)

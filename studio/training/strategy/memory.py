"""Two reserves of a run: the last good state of what is trained, and batches split in halves when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from studio.jobs.failure_reasons import is_out_of_memory
from studio.methods import Method

FILE = "last_good.pt"
MOST_BYTES = 2**28  # largest trained part of which copies are kept, in main memory


class LastGood:
    """Copies of the trained parameters and the states of method and optimiser: one that has proved good, and a newer
    one that has yet to. Both are kept in a checkpoint, so that a resumed run falls back to the same state.
    """

    def __init__(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer):
        self.model, self.method, self.optimizer = model, method, optimizer
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.good: dict | None = None
        self.newer: dict | None = None

    def take(self, step: int) -> None:
        """Copy the present state; the copy that was taken before counts as good from now on."""
        if self.newer is not None:
            self.good = self.newer
        self.newer = self._copied(step)
        if self.good is None:
            self.good = self.newer

    def begin_anew(self, step: int) -> None:
        """Let the present state be the good one, such as after its shapes were changed."""
        self.good = self.newer = None
        self.take(step)

    def restore(self) -> int:
        """Set parameters and optimiser to the last good state; returns its step."""
        with torch.no_grad():
            for name, value in self.good["parameters"].items():
                self.parameters[name].copy_(value)
        # Copies, because both may keep the tensors that they get.
        self.method.load_state(self.model, _copies(self.good["method"]))
        self.optimizer.load_state_dict(_copies(self.good["optimizer"]))
        self.newer = None
        return self.good["step"]

    def save(self, folder: Path) -> None:
        torch.save({"good": self.good, "newer": self.newer}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Load what `save` wrote. Raises OSError where it is missing."""
        found = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        self.good, self.newer = found["good"], found["newer"]

    def _copied(self, step: int) -> dict:
        return {
            "step": step,
            "parameters": _copies(self.parameters),
            "method": _copies(self.method.state(self.model)),
            "optimizer": _copies(self.optimizer.state_dict()),
        }


def _copies(value):
    """A nested structure with copies of its tensors in main memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copies(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copies(item) for item in value)
    return value


def split(inputs: dict, parts: int) -> list[dict]:
    """The rows of a batch in up to `parts` batches of nearly equal size. "tokens", a count, goes to the first one."""
    rows = rows_of(inputs)
    size = -(-rows // parts)
    made = []
    for start in range(0, rows, size):
        piece = {name: value[start : start + size] for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        rest = {name: value if not start else 0 for name, value in inputs.items() if name not in piece}
        made.append({**piece, **rest})
    return made


def rows_of(inputs: dict) -> int:
    return next(len(value) for value in inputs.values() if isinstance(value, torch.Tensor))


def attempt(step: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """The result of `step`; None where it ran out of memory, which is free again then."""
    try:
        return step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    gc.collect()  # the frames of the failed step are gone
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return None

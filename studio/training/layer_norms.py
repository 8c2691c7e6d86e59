"""Norms of gradients and of trainable parameters per layer over a run, in one small file in the run's folder.

Steps are recorded at a stride that doubles whenever `COLUMNS` steps are held, so the file stays small however long the
run is, and whenever recording took more than `BUDGET` of the steps' time. The first line of the file is
{"layers": [name, …]}, each further one {"step", "gradient": [norm, …], "weight": [norm, …]}, in the layers' order.

Importing this module loads no torch, since the page reads the file too.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from studio.library.weight_norms import LAYER

if TYPE_CHECKING:
    import torch

FILE = "layer_norms.jsonl"
COLUMNS = 96  # most steps that are held
BUDGET = 0.005  # largest share of a step's time
_TIMED = 8  # records over which their cost is measured; the first ones are slow
_SUFFIX = re.compile(r"\.(?:lora_\w+|default|weight|bias)(?=\.|$)")


class LayerNorms:
    """Records the norms while a model is fine-tuned: `begin`, then at each step `collect` and `write`.

    stride: only steps that it divides are recorded; a power of two.
    """

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self.stride = 1
        self.layers: list[str] = []
        self._rows: list[dict] = []
        self._parameters: list[torch.nn.Parameter] = []
        self._index: list[int] = []
        self._pending: torch.Tensor | None = None
        self._spent = 0.0
        self._costs: deque[float] = deque(maxlen=_TIMED)

    def begin(self, model: torch.nn.Module, step: int) -> None:
        """Start recording the trainable parameters of `model`; what the file holds after `step` is dropped."""
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.layers = sorted({layer_of(name) for name, _ in named}, key=_place)
        self._parameters = [parameter for _, parameter in named]
        self._index = [self.layers.index(layer_of(name)) for name, _ in named]
        held = read(self.path) if step else None
        self._rows = [row for row in held["rows"] if row["step"] <= step] if held else []
        if held and held["layers"] != self.layers:
            self._rows = []
        common = math.gcd(*(row["step"] for row in self._rows)) if len(self._rows) > 1 else 1
        self.stride = common & -common  # the largest power of two that divides all of them
        self._write_all()

    def due(self, step: int) -> bool:
        """Whether `step` is recorded."""
        return step % self.stride == 0 and bool(self._parameters)

    def collect(self) -> None:
        """Compute the norms; to be called while the gradients exist. Does not wait for a GPU."""
        import torch

        began = time.perf_counter()
        device = self._parameters[0].device
        index = torch.tensor(self._index, device=device)
        none = torch.zeros((), device=device)
        with torch.no_grad():
            found = []
            for tensors in ([p.grad for p in self._parameters], self._parameters):
                there = [place for place, tensor in enumerate(tensors) if tensor is not None]
                norms = [none] * len(tensors)
                found_norms = torch._foreach_norm([tensors[at].detach() for at in there]) if there else []
                for place, norm in zip(there, found_norms, strict=True):
                    norms[place] = norm.to(device, torch.float32)
                squares = torch.stack(norms).square()
                found.append(torch.zeros(len(self.layers), device=device).index_add_(0, index, squares).sqrt())
            self._pending = torch.stack(found)
        self._spent = time.perf_counter() - began

    def write(self, step: int, seconds: float, scale: float = 1.0) -> None:
        """Append the norms that were collected in `step`, if any, and choose the stride.

        seconds: duration of the step. scale: factor on the gradients' norms, for gradients that had been clipped.
        """
        if self._pending is None:
            return
        began = time.perf_counter()
        gradient, weight = self._pending.tolist()
        self._pending = None
        row = {"gradient": [_short(norm * scale) for norm in gradient], "weight": [_short(norm) for norm in weight]}
        self._rows.append({"step": step, **row})
        if len(self._rows) > COLUMNS:
            self.stride *= 2
            self._rows = [row for row in self._rows if row["step"] % self.stride == 0]
            self._write_all()
        else:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._rows[-1], separators=(",", ":")) + "\n")
        self._costs.append(self._spent + time.perf_counter() - began)
        if len(self._costs) == _TIMED:
            cost = sorted(self._costs)[_TIMED // 2]
            while seconds and cost / (self.stride * seconds) > BUDGET:
                self.stride *= 2

    def _write_all(self) -> None:
        lines = [json.dumps(row, separators=(",", ":")) for row in ({"layers": self.layers}, *self._rows)]
        half = self.path.with_suffix(".half")
        half.write_text("\n".join(lines) + "\n", encoding="utf-8")
        half.replace(self.path)


def layer_of(name: str) -> str:
    """The layer of a parameter by its name: its number, or outside the numbered layers the name of the module."""
    match = LAYER.search(f".{name}.")
    if match:
        return match[1]
    return _SUFFIX.sub("", name).removeprefix("base_model.model.").removeprefix("model.") or name


def read(path: Path) -> dict | None:
    """{"layers", "rows"} of a run's file, a last line that is not whole left out; None if there is no file.

    Cached as long as the file does not change.
    """
    try:
        found = path.stat()
        return _parsed(path, found.st_mtime_ns, found.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=16)
def _parsed(path: Path, changed: int, size: int) -> dict:
    """changed, size: of the file, part of the cache key."""
    text = path.read_text(encoding="utf-8")
    head, *rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()] or [{"layers": []}]
    return {"layers": head["layers"], "rows": rows}


def _place(layer: str) -> tuple[bool, int, str]:
    """Numbered layers in order, then the others."""
    return (not layer.isdigit(), int(layer) if layer.isdigit() else 0, layer)


def _short(value: float) -> float | None:
    """Four significant digits; None for a value that is not finite, which JSON cannot hold."""
    return float(f"{value:.4g}") if math.isfinite(value) else None

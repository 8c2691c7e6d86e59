"""Compare an export, read back by stock tools in a fresh process (`read_back.py`), with the adapter in the library.

A `Proof` is written into the export's manifest and card. A format that rounds the weights is held to two bounds: what
was read back must equal our own model with equally rounded weights (`EXACT`), and the rounding may move the logits by
no more than the format's `BOUNDS`. Used in workers only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.home import REPOSITORY
from studio.words import StudioError

if TYPE_CHECKING:
    import numpy as np

EXACT = 1e-4  # largest difference of a logit in fp32 …
_SHARE = 4e-6  # … or this share of the largest logit, where that is more: fp32 has no finer steps there
BOUNDS = {
    "fp32": 0.0,
    "fp16": 0.01,
    "bf16": 0.05,
    "F32": 0.0,
    "F16": 0.01,
    "BF16": 0.05,
    "Q8_0": 0.1,
    "Q5_1": 0.4,
    "Q5_0": 0.4,
    "Q4_1": 0.8,
    "Q4_0": 0.8,
}
"""Format → largest root mean square by which rounding may move the logits, as a share of their standard deviation."""
_PATIENCE = 3600  # seconds


@dataclass(frozen=True)
class Proof:
    """How far an export is from the adapter.

    difference: largest absolute difference of a logit between the export, read back, and the adapter. exact: the same
    between the export and our model with equally rounded weights, which `bound` limits. moved: root mean square of the
    difference as a share of the logits' standard deviation, which `moved_bound` limits. reader: what read it back.
    """

    format: str
    reader: str
    difference: float
    exact: float
    bound: float
    moved: float
    moved_bound: float

    def to_json(self) -> dict:
        return asdict(self)


class Reader:
    """A fresh process that loads exports with stock tools; to be used as a context manager.

    own: whether it may import `studio.tuners`. The process imports its libraries while the caller still works.
    """

    def __init__(self, own: bool = False):
        program = Path(__file__).with_name("read_back.py")
        self._folder = tempfile.TemporaryDirectory(prefix="delta-studio-proof-")
        self._log = open(Path(self._folder.name) / "log", "w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), *(["own"] if own else [])],
            cwd=self._folder.name,
            env=_environment(own),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def logits(self, request: dict, inputs: list[dict]) -> list[np.ndarray]:
        """The logits of the export that `request` describes (see `read_back.answer`) for `inputs`.

        Raises StudioError if the export cannot be loaded.
        """
        import numpy as np

        folder = Path(self._folder.name)
        arrays = {f"{key}:{at}": value.numpy() for at, each in enumerate(inputs) for key, value in each.items()}
        np.savez(folder / "inputs.npz", **arrays)
        request = {**request, "inputs": str(folder / "inputs.npz"), "out": str(folder / "logits.npz")}
        reply = self._ask(json.dumps(request))
        if reply != "ok":
            raise StudioError(
                "The export could not be read back, so it was not kept: {detail}.",
                detail=reply.removeprefix("failed: ").rstrip("."),
            )
        with np.load(folder / "logits.npz") as found:
            return [found[str(at)] for at in range(len(inputs))]

    def _ask(self, request: str) -> str:
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; the log says why
        for line in self._process.stdout:
            if line.strip() != "ready":
                return line.strip()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines() or ["the process that reads it ended"]
        return lines[-1][:300]


def _environment(own: bool) -> dict[str, str]:
    import os

    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    kept |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return kept | ({"PYTHONPATH": str(REPOSITORY)} if own else {})


def compare(
    found: list[np.ndarray], live: list[np.ndarray], rounded: list[np.ndarray], *, form: str, reader: str
) -> Proof:
    """Hold what was read back against the adapter's own logits, and against those of the equally rounded weights.

    Raises StudioError if a bound is exceeded; nan and other shapes never pass.
    """
    import numpy as np

    if [each.shape for each in found] != [each.shape for each in live]:
        raise StudioError("The export was read back with other logits than the adapter has, so it was not kept.")
    bound = max(EXACT, _SHARE * max(float(np.abs(each).max()) for each in live))
    rms = np.sqrt(np.mean([np.mean((a - b) ** 2) for a, b in zip(found, live, strict=True)]))
    spread = np.mean([each.std() for each in live])
    proof = Proof(
        format=form,
        reader=reader,
        difference=_largest(found, live),
        exact=_largest(found, rounded),
        bound=bound,
        moved=float(rms / spread) if spread else float(rms),
        moved_bound=BOUNDS[form],
    )
    exact = proof.difference if form in ("fp32", "F32") else proof.exact
    if not exact <= bound:
        raise StudioError(
            "The export was read back, but its logits differ from the adapter's by {difference}, more than {bound}, "
            "so it was not kept.",
            difference=f"{exact:.2g}",
            bound=f"{bound:.2g}",
        )
    if BOUNDS[form] and not proof.moved <= BOUNDS[form]:
        raise StudioError(
            "{format} is too coarse for this model: it moves the logits by {moved} % of their spread, more than "
            "{bound} %, so the export was not kept. Choose a finer format.",
            format=form,
            moved=round(100 * proof.moved, 1),
            bound=round(100 * BOUNDS[form], 1),
        )
    return proof


def _largest(left: list[np.ndarray], right: list[np.ndarray]) -> float:
    import numpy as np

    return float(np.max([np.abs(a - b).max() for a, b in zip(left, right, strict=True)]))

"""What the rules know of a run: its newest losses and gradient norms, its evaluations, and what was changed so far.

Imports no torch and depends on no trainer, so that rules can be tried on recorded curves.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from itertools import pairwise

SMOOTH = 5  # newest training losses of which the median is taken
_GLANCE = 3  # training losses that suffice at an evaluation
_KEPT = 256  # newest training losses that are held
_SHORTEST, _LONGEST = 8, 64  # steps of a window
_ASSUMED = 0.15  # difference between batches, relative to the loss, before it is known
HIGHEST, LOWEST = 64.0, 2.0**-10  # bounds of the factor on the learning rate


@dataclass
class Evaluation:
    """loss: of the validation set. training: the smoothed training loss at that step, if there was one."""

    step: int
    loss: float
    training: float | None


@dataclass
class Watch:
    """The state of the strategy.

    steps: planned steps. begin: steps of the warm-up. patience: evaluations without improvement before something is
    changed. since: step of the last change. rate: factor on the scheduled learning rate; it never rises above
    `ceiling`. start, lowest: first and lowest smoothed training loss. falls: steps at which the run fell back to its
    last good state. doubts: evaluations since the last fall back that were made because of suspicious losses. parts:
    into how many parts each batch is split. ranks: whether ranks can be changed.
    """

    steps: int
    begin: int = 0
    patience: int = 2
    ranks: bool = False
    since: int = 0
    rate: float = 1.0
    ceiling: float = HIGHEST
    start: float | None = None
    lowest: float | None = None
    losses: list[list[float]] = field(default_factory=list)
    gradient: float | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    falls: list[int] = field(default_factory=list)
    doubts: int = 0
    parts: int = 1

    @property
    def window(self) -> int:
        """Number of steps over which progress is judged."""
        return min(max(self.steps // 20, _SHORTEST), _LONGEST)

    @property
    def step(self) -> int:
        return int(self.losses[-1][0]) if self.losses else 0

    @property
    def finite(self) -> bool:
        """Whether the newest loss and gradient norm are numbers."""
        loss = self.losses[-1][1] if self.losses else 0.0
        return math.isfinite(loss) and (self.gradient is None or math.isfinite(self.gradient))

    def note_step(self, step: int, loss: float, gradient: float | None) -> None:
        """Record a step. gradient: its norm; None where it says nothing, such as with scaled 16-bit gradients."""
        self.losses = [*self.losses[1 - _KEPT :], [step, loss]]
        self.gradient = gradient
        smooth = self.smooth()
        if smooth is not None and math.isfinite(smooth):
            # The first losses may have risen already; the very first one is that of the model before any step.
            self.start = min(smooth, self.losses[0][1]) if self.start is None else self.start
            self.lowest = min(smooth, self.start if self.lowest is None else self.lowest)

    def note_evaluation(self, step: int, loss: float) -> None:
        loss = loss if math.isfinite(loss) else math.inf
        self.evaluations.append(Evaluation(step, loss, self.smooth(least=_GLANCE)))

    def changed(self, step: int) -> None:
        """Note that something was changed after `step`: progress is judged anew from there."""
        self.since = step

    def recent(self) -> list[float]:
        """The training losses since the last change, oldest first."""
        return [loss for step, loss in self.losses if step > self.since]

    def smooth(self, least: int = SMOOTH) -> float | None:
        """Median of the newest `SMOOTH` losses since the last change; None where there are fewer than `least`."""
        recent = self.recent()[-SMOOTH:]
        return statistics.median(recent) if len(recent) >= least else None

    def noise(self) -> float:
        """Median absolute difference between neighbouring losses, the newest ones left out: how much batches differ.

        At the beginning, where it is not known, a share of the loss.
        """
        values = [loss for _, loss in self.losses[:-SMOOTH] if math.isfinite(loss)]
        if len(values) <= _SHORTEST:
            return _ASSUMED * abs(self.start or 0.0)
        return statistics.median(abs(after - before) for before, after in pairwise(values))

    def waited(self) -> list[Evaluation]:
        """The evaluations since the last change, the newest last, once `patience` of them over a window of steps have
        not improved on the best one before; else empty.
        """
        best = min(range(len(self.evaluations)), key=lambda at: self.evaluations[at].loss, default=0)
        found = [item for item in self.evaluations[best + 1 :] if item.step > self.since]
        if len(found) < self.patience or self.step - max(self.since, self.evaluations[best].step) < self.window:
            return []
        return found

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Watch:
        return cls(**{**data, "evaluations": [Evaluation(**item) for item in data["evaluations"]]})

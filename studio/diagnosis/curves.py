"""Measures of a loss curve. Medians are used throughout, because the loss of a single batch says little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from studio.diagnosis.evidence import Curve

SHORTEST = 16  # points; fewer say nothing about a curve


@dataclass(frozen=True)
class Trend:
    """Medians along a curve of at least `SHORTEST` finite values.

    start, end: of its first and last tenth (at least 4 values). lowest, highest: of all windows of that size.
    quarters: of its four quarters.
    """

    start: float
    end: float
    lowest: float
    highest: float
    quarters: tuple[float, float, float, float]

    @property
    def drop(self) -> float:
        """Fall from start to end, relative to the start; negative if it rose."""
        return (self.start - self.end) / abs(self.start) if self.start else 0.0


def trend(values: list[float]) -> Trend | None:
    """The trend of the finite `values`; None if they are too few."""
    finite = [value for value in values if math.isfinite(value)]
    count = len(finite)
    if count < SHORTEST:
        return None
    size = max(4, count // 10)
    windows = [median(finite[at : at + size]) for at in range(0, count - size + 1, max(1, size // 2))]
    quarters = tuple(median(finite[count * part // 4 : count * (part + 1) // 4]) for part in range(4))
    return Trend(median(finite[:size]), median(finite[-size:]), min(windows), max(windows), quarters)


def value_near(curve: Curve, step: float, count: int = 8) -> float | None:
    """Median of the `count` values whose steps are nearest to `step`."""
    near = sorted(curve, key=lambda point: abs(point[0] - step))[:count]
    return median(value for _, value in near) if near else None

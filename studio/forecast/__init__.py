"""Estimates of a run's time, memory and disk space before it starts (`forecast`), its description in one `sentence`,
and remedies where it does not fit into memory.
"""

from studio.forecast.estimate import PARTS, Forecast, duration, forecast, sentence
from studio.forecast.model_fit import fits
from studio.forecast.recommend import Case, Recommendation, recommend
from studio.forecast.remedies import changed, memory_problem, not_enough_memory

__all__ = [
    "PARTS",
    "Case",
    "Forecast",
    "Recommendation",
    "changed",
    "duration",
    "fits",
    "forecast",
    "memory_problem",
    "not_enough_memory",
    "recommend",
    "sentence",
]

"""What a run will take, before it is started: `forecast`, the run as one `sentence`, and what to do where it does not fit."""

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

"""Line charts as inline SVG, for documents that load no external resources.

line_chart("Loss", {"training": points}, unit="nats per token")
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

Point = tuple[float, float]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 230, 58, 12, 14, 34
_BUCKETS = 240  # per curve; each keeps its lowest and its highest point
_DASHES = ["", "6 3", "2 3"]
_LOG_FROM = 30  # ratio of largest to smallest value above which the y axis is logarithmic


def thinned(points: Sequence[Point]) -> list[Point]:
    """Keep the lowest and highest point of each of `_BUCKETS` parts of a curve, in order; drop non-finite points."""
    found = [point for point in points if math.isfinite(point[1])]
    if len(found) <= 2 * _BUCKETS:
        return found
    size, kept = len(found) / _BUCKETS, []
    for at in range(_BUCKETS):
        part = found[int(at * size) : int((at + 1) * size)]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


def line_chart(title: str, series: dict[str, Sequence[Point]], unit: str = "", x_title: str = "") -> str:
    """Return one chart with a curve for each entry of `series`: name → (step, value) points.

    Up to nine curves differ in colour or dashes. The y axis is logarithmic for positive values of a wide range
    (`_LOG_FROM`). Returns "" if no curve has a point.
    """
    curves = {name: found for name, points in series.items() if (found := thinned(points))}
    if not curves:
        return ""
    values = [value for points in curves.values() for _, value in points]
    steps = [step for points in curves.values() for step, _ in points]
    low, high = min(values), max(values)
    log = low > 0 and high / low > _LOG_FROM
    ticks = _log_ticks(low, high) if log else _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step - min(steps)) / ((max(steps) - min(steps)) or 1)

    def y(value: float) -> float:
        share = (math.log(value / low) / math.log(high / low)) if log else (value - low) / ((high - low) or 1)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    lines = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text class="end" x="{_LEFT - 6}" y="{y(tick) + 4:.1f}">{tick:.4g}</text>'
        for tick in ticks
    )
    lines += "".join(
        f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 15}">{tick:,.0f}</text>' for tick in (min(steps), max(steps))
    )
    drawn = "".join(
        f'<polyline class="curve c{at % 3}" stroke-dasharray="{_DASHES[(at + at // 3) % 3]}" '
        f'points="{" ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)}"/>'
        for at, points in enumerate(curves.values())
    )
    legend = "".join(
        f'<span><i class="c{at % 3}"></i>{html.escape(name)} {points[-1][1]:.4g}</span>'
        for at, (name, points) in enumerate(curves.items())
    )
    unit_text = f" ({html.escape(unit)})" if unit else ""
    return (
        f'<figure class="chart"><figcaption><b>{html.escape(title)}</b>{unit_text} <span class="legend">{legend}'
        "</span></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title, quote=True)}">'
        f'<g class="axes">{lines}'
        f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 4}">{html.escape(x_title)}</text></g>{drawn}</svg></figure>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round values, from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1.0
    raw = span / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.floor(low / step)
    return [round((first + at) * step, 12) for at in range(math.ceil(high / step) - first + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]

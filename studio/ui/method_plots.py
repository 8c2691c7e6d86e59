"""Small plots of the Method tab: comparison of the methods on our own benchmark (`studio.methods.benchmark`).

`overview_html` plots quality over trainable parameters for all methods; `bars_html` shows quality, memory and time of
one method.
"""

from __future__ import annotations

import math

from studio.methods import FAMILIES, METHODS
from studio.methods.benchmark import Measured, measured
from studio.ui.html_parts import e, number, size
from studio.ui.page import Page

# Palette of Okabe and Ito, distinguishable with colour vision deficiency; one colour per family.
_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 250, 46, 40, 10, 12


def bars_html(page: Page, name: str) -> str:
    """Return quality, peak memory and time of one method as bars; "" if it was not measured.

    Quality is a share; memory and time are relative to the benchmark's largest value.
    """
    found = measured().get(name)
    if found is None:
        return ""
    everything = measured().values()
    rows = [
        ("Quality", found.quality, f"{found.quality:.0%}"),
        ("Memory", found.memory / max(other.memory for other in everything), size(found.memory)),
        (
            "Time",
            found.seconds / max(other.seconds for other in everything),
            page.t("{count} s", count=f"{found.seconds:.0f}"),
        ),
    ]
    bars = "".join(
        (
            f'<div><dt>{e(page.t(title))}</dt><dd><span class="bar"><span style="width:{100 * share:.0f}%"></span>'
            f"</span>{e(text)}</dd></div>"
        )
        for title, share, text in rows
    )
    return f'<dl class="measures" title="{e(page.t(_SOURCE))}">{bars}</dl>'


_SOURCE = (
    "Measured on the starter model with two examples and the same number of steps; other models and data rank "
    "differently."
)


def overview_html(page: Page, names: list[str], chosen: str) -> str:
    """Plot quality over trainable parameters, with one point for each of `names` that was measured.

    The points are buttons that choose the method.
    """
    points = {name: measured()[name] for name in names if name in measured()}
    if not points:
        return ""
    low, high = (edge(math.log10(point.parameters) for point in measured().values()) for edge in (min, max))
    low, high = math.floor(low), math.ceil(high)

    def x(point: Measured) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(point.parameters) - low) / (high - low)

    def y(point: Measured) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - point.quality)

    order = sorted(points, key=lambda name: (name == chosen, points[name].quality))  # draws the chosen one on top
    drawn = "".join(
        _point(page, name, points[name], x(points[name]), y(points[name]), name == chosen) for name in order
    )
    families = [key for key in FAMILIES if any(METHODS[name].family == key for name in points)]
    legend = "".join(
        f'<span><i style="background:{_colour(key)}"></i>{e(page.t(FAMILIES[key]))}</span>' for key in families
    )
    return (
        f'<figure class="overview"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-label="{e(page.t("Quality over trainable parameters"))}">'
        f"{_axes(page, low, high)}{drawn}</svg>"
        f'<figcaption><span class="legend">{legend}</span> {e(page.t(_SOURCE))}</figcaption></figure>'
    )


def _colour(family: str) -> str:
    return _COLOURS[list(FAMILIES).index(family) % len(_COLOURS)]


def _point(page: Page, name: str, point: Measured, x: float, y: float, chosen: bool) -> str:
    title = page.t(METHODS[name].title)
    message = page.t(
        "{method}: quality {quality}, {count} trainable parameters, {memory}, {seconds} s",
        method=title,
        quality=f"{point.quality:.0%}",
        count=number(point.parameters),
        memory=size(point.memory),
        seconds=f"{point.seconds:.0f}",
    )
    label = f'<text x="{x:.1f}" y="{y - 10:.1f}">{e(title)}</text>' if chosen else ""
    return (
        f'<g class="point{" chosen" if chosen else ""}" data-act="point" data-item="{e(name)}" role="button" '
        f'tabindex="0" aria-label="{e(message)}">'
        f'<title>{e(message)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if chosen else 5}" '
        f'fill="{_colour(METHODS[name].family)}"/>{label}</g>'
    )


def _axes(page: Page, low: int, high: int) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    lines = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _TOP + (bottom - _TOP) * (1 - share)
        lines.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{share:.0%}</text>')
    for power in range(low, high + 1):
        x = _LEFT + (right - _LEFT) * (power - low) / (high - low)
        lines.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}">{_power(power)}</text>')
    middle = (_LEFT + right) / 2
    lines.append(
        f'<text class="axis" x="{middle:.0f}" y="{_HEIGHT - 6}">'
        f"{e(page.t('Trainable parameters on the starter model'))}</text>"
    )
    return f'<g class="axes" aria-hidden="true">{"".join(lines)}</g>'


def _power(power: int) -> str:
    """Format 10 to the power of `power`: 100, 1 k, 10 M."""
    unit = " kMG"[power // 3].strip()
    return f"{10 ** (power % 3)}{' ' + unit if unit else ''}"

"""How classes are shown: probabilities as bars, and the confusion matrix as a heat map that is its own table.

It knows nothing about where the numbers come from.
"""

from __future__ import annotations

from studio.ui.board import e
from studio.ui.page import Page

_MOST = 30  # classes drawn; the rest is in the predictions


def bars_html(page: Page, labels: list[str], values: list[float], *, several: bool) -> str:
    """Class → probability, the likeliest first. several: each bar is a yes or no of its own."""
    ranked = sorted(zip(labels, values, strict=True), key=lambda pair: -pair[1])[:_MOST]
    rows = "".join(
        f'<li{" class=chosen" if (value >= 0.5 if several else at == 0) else ""}><span class="name">{e(label)}</span>'
        f'<span class="track" aria-hidden="true"><span style="width:{100 * value:.1f}%"></span></span><span class="value">{100 * value:.1f} %</span></li>'
        for at, (label, value) in enumerate(ranked))
    said = page.t("Each label by itself; those of 50 % and more are given.") if several else page.t("Probability of each class")
    return f'<ol class="class-bars" aria-label="{e(said)}">{rows}</ol>' + (f'<p class="help">{e(said)}</p>' if several else "")


def matrix_html(page: Page, found: dict) -> str:
    """What was expected against what was said; a darker cell holds more rows of its line. For several labels: hits and mistakes of each."""
    names, counts = found["names"][:_MOST], [row[:_MOST] for row in found["counts"][:_MOST]]
    heads = names if not found["several"] else [page.t("rightly said"), page.t("missed"), page.t("wrongly said")]
    body = ""
    for at, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            f'<td class="{"hit" if (column == 0 if found["several"] else column == at) else "miss"}" style="--share:{100 * count / total:.0f}%">{count or ""}<span class="hidden">{"" if count else 0}</span></td>'
            for column, count in enumerate(row))
        body += f'<tr><th scope="row">{e(name)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col"><span>{e(name)}</span></th>' for name in heads)
    caption = page.t("Rows: the label that was expected; columns: the label that was said. Held-out rows only.") if not found["several"] else page.t("How often each label was said rightly, missed, or said wrongly. Held-out rows only.")
    left = page.t("The first {shown} of {count} labels.", shown=_MOST, count=len(found["names"])) if len(found["names"]) > _MOST else ""
    return (f'<h4>{e(page.t("Which labels are taken for which"))}</h4><div class="scroll" tabindex="0"><table class="matrix"><caption>{e(caption)} {e(left)}</caption>'
            f'<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def beside_base(page: Page, metrics: dict) -> str:
    """What the figures are to be compared with, in a sentence; "" where nothing was measured."""
    found = metrics.get("classes")
    if not found or "correct" not in metrics:
        return ""
    return page.t("Untaught, the base model knows none of these classes. Saying always “{label}” would be right in {base} of the held-out rows; the taught model is right in {taught}.",
                  label=found["always"], base=f"{metrics['base_correct']:.0%}", taught=f"{metrics['correct']:.0%}")

"""Display of classification results: class probabilities as bars, and the confusion matrix as a heat map table.

This module does not depend on where the numbers come from.
"""

from __future__ import annotations

from studio.ui.html_parts import e
from studio.ui.page import Page

_MOST = 30  # classes drawn; the predictions file has all of them


def bars_html(page: Page, labels: list[str], values: list[float], *, multi_label: bool) -> str:
    """Return class probabilities as bars in descending order.

    With `multi_label`, each label is a decision of its own, positive from 0.5.
    """
    ranked = sorted(zip(labels, values, strict=True), key=lambda pair: -pair[1])[:_MOST]
    rows = "".join(
        f'<li{" class=chosen" if (value >= 0.5 if multi_label else at == 0) else ""}><span class="name">'
        f"{e(label)}</span>"
        f'<span class="track" aria-hidden="true"><span style="width:{100 * value:.1f}%"></span></span>'
        f'<span class="value">{100 * value:.1f} %</span></li>'
        for at, (label, value) in enumerate(ranked)
    )
    text = (
        page.t("Each label by itself; those of 50 % and more are given.")
        if multi_label
        else page.t("Probability of each class")
    )
    return f'<ol class="class-bars" aria-label="{e(text)}">{rows}</ol>' + (
        f'<p class="help">{e(text)}</p>' if multi_label else ""
    )


def answer_html(page: Page, found: dict) -> str:
    """Return a classifier's answer as bars; with several label sets, those of each set under its name."""
    if not found["sets"]:
        return bars_html(page, found["labels"], found["probabilities"], multi_label=found["multi_label"])
    values = iter(found["probabilities"])
    return "".join(
        f"<h5>{e(name)}</h5>{bars_html(page, labels, [next(values) for _ in labels], multi_label=False)}"
        for name, labels in found["sets"].items()
    )


def matrices_html(page: Page, found: dict) -> str:
    """Return the confusion matrix; with several label sets, the matrix of each below its scores."""
    if "sets" not in found:
        return matrix_html(page, found)
    return "".join(f'<p class="help">{e(_set_said(page, one))}</p>{matrix_html(page, one)}' for one in found["sets"])


def _set_said(page: Page, one: dict) -> str:
    return page.t(
        "Label set “{name}”: {fine_tuned} of {rows} validation rows right, macro F1 {f1}; always “{label}” would "
        "be right in {base}.",
        name=one["set"],
        rows=one["rows"],
        label=one["always"],
        fine_tuned=f"{one['accuracy']:.0%}",
        f1=f"{one['macro_f1']:.0%}",
        base=f"{one['base_accuracy']:.0%}",
    )


def matrix_html(page: Page, found: dict) -> str:
    """Return the confusion matrix of expected and predicted labels, coloured by the share of the row.

    With several labels per example: true positives, misses and false positives of each label.
    """
    names, counts = found["names"][:_MOST], [row[:_MOST] for row in found["counts"][:_MOST]]
    heads = names if not found["multi_label"] else [page.t("rightly said"), page.t("missed"), page.t("wrongly said")]
    body = ""
    for at, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            (
                f'<td class="{"hit" if (column == 0 if found["multi_label"] else column == at) else "miss"}" '
                f'style="--share:{100 * count / total:.0f}%">{count or ""}<span class="hidden">{"" if count else 0}'
                "</span></td>"
            )
            for column, count in enumerate(row)
        )
        body += f'<tr><th scope="row">{e(name)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col"><span>{e(name)}</span></th>' for name in heads)
    caption = (
        page.t("Rows: the label that was expected; columns: the label that was said. Validation rows only.")
        if not found["multi_label"]
        else page.t("How often each label was said rightly, missed, or said wrongly. Validation rows only.")
    )
    left = (
        page.t("The first {shown} of {count} labels.", shown=_MOST, count=len(found["names"]))
        if len(found["names"]) > _MOST
        else ""
    )
    return (
        f'<h4>{e(page.t("Which labels are taken for which"))}</h4><div class="scroll" tabindex="0">'
        f'<table class="matrix"><caption>{e(caption)} {e(left)}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def baseline_sentence(page: Page, metrics: dict) -> str:
    """Return a sentence that compares the accuracy with that of always predicting the most frequent label.

    Returns "" if nothing was measured.
    """
    found = metrics.get("classes")
    if not found or "correct" not in metrics:
        return ""
    return page.t(
        "Without fine-tuning, the base model knows none of these classes. Saying always “{label}” would be right "
        "in {base} of the validation rows; the fine-tuned model is right in {fine_tuned}.",
        label=found["always"],
        base=f"{metrics['base_correct']:.0%}",
        fine_tuned=f"{metrics['correct']:.0%}",
    )

"""Answers of the base model and the fine-tuned model to the validation rows: mean scores with intervals, and storage
in a file of bounded size.

`predictions.jsonl` in the run's folder has one line per row. It contains the user's data, so it is never exported with
an adapter. Independent of models and of how the page shows the table.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

from studio.evaluation.intervals import gain, interval
from studio.words import Sentence

FILE = "predictions.jsonl"
MOST_CHARACTERS = 24_000_000  # approximate limit of one file; texts are cut to fit
_LONGEST = 8_000  # characters of one text


@dataclass(frozen=True)
class Score:
    """Description of a score of one row; the run's metric is its mean over all rows.

    share: it lies between 0 and 1 and is shown as a percentage. agreed: the base model's value follows from the
    definition and is not measured, so it has no interval.
    """

    title: Sentence
    help: Sentence
    share: bool = True
    agreed: bool = False


SCORES = {
    "preferred": Score(
        Sentence("Better answer preferred"),
        Sentence("In how many validation pairs the model finds the better answer likelier than the worse one."),
    ),
    "margin": Score(
        Sentence("Margin"),
        Sentence(
            "How much likelier the better answer is than the worse one, on average: "
            "the difference of their log-probabilities."
        ),
        share=False,
    ),
    "reward_accuracy": Score(
        Sentence("Reward accuracy"),
        Sentence(
            "How many validation answers became likelier where they are marked good and less likely where bad; "
            "one half before training."
        ),
        agreed=True,
    ),
    "correct": Score(Sentence("Accuracy"), Sentence("How many validation rows got exactly the labels they should.")),
    "exact_match": Score(
        Sentence("Exact match"), Sentence("How many answers are the same as the expected answer, word for word.")
    ),
    "token_f1": Score(
        Sentence("Token F1"), Sentence("How many words answer and expected answer share, whatever their order.")
    ),
    "rouge_l": Score(Sentence("ROUGE-L"), Sentence("How many words they share in the same order.")),
}
"""All scores of a row by name. "Worst first" sorts by the first of them that the run's rows have."""
MACRO_F1 = Score(
    Sentence("Macro F1"),
    Sentence(
        "How well each label is found and told apart from the others, on average: "
        "a rare label counts as much as a frequent one."
    ),
)
"""Computed from all rows together, not a mean of row scores."""


@dataclass(frozen=True)
class Prediction:
    """One validation row with the answers of both models.

    scores: name in `SCORES` → (base model's, fine-tuned model's). rejected: the rejected answer of a pair.
    """

    prompt: str
    expected: str
    base: str
    fine_tuned: str
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    rejected: str = ""


def summarise(rows: Sequence[Prediction]) -> dict:
    """Return the means of all scores, {"exact_match": …, "base_exact_match": …}, and their 95 % intervals.

    "intervals" maps each score to {"base": (low, high), "fine_tuned": …, "difference": …}, the last one of fine-tuned −
    base on the same rows; None where no interval can be given.
    """
    names = [name for name in SCORES if rows and name in rows[0].scores]
    found: dict = {}
    for name in names:
        base, fine_tuned = zip(*(row.scores[name] for row in rows), strict=True)
        found |= {name: fmean(fine_tuned), f"base_{name}": fmean(base)}
        found.setdefault("intervals", {})[name] = _intervals(SCORES[name], base, fine_tuned)
    return found


def _intervals(score: Score, base: Sequence[float], fine_tuned: Sequence[float]) -> dict:
    reached = interval(fine_tuned, score.share)
    if score.agreed:
        return {
            "base": None,
            "fine_tuned": reached,
            "difference": reached and tuple(edge - fmean(base) for edge in reached),
        }
    return {
        "base": interval(base, score.share),
        "fine_tuned": reached,
        "difference": gain(base, fine_tuned, score.share),
    }


def write(folder: Path, rows: Sequence[Prediction]) -> None:
    """Write all `rows` to `folder`, atomically. Texts are cut so that the file stays near `MOST_CHARACTERS`."""
    longest = min(_LONGEST, max(40, MOST_CHARACTERS // (5 * max(1, len(rows)))))

    def cut(text: str) -> str:
        return text if len(text) <= longest else text[: longest - 1] + "…"

    half = folder / f"{FILE}.half"
    with open(half, "w", encoding="utf-8") as file:
        for row in rows:
            values = {key: cut(value) if isinstance(value, str) else value for key, value in asdict(row).items()}
            file.write(json.dumps(values, ensure_ascii=True) + "\n")
    os.replace(half, folder / FILE)


def read(folder: Path) -> list[Prediction]:
    """Read the rows that `write` stored in `folder`; [] if there is no file."""
    path = folder / FILE
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as file:
        return [
            Prediction(**{**values, "scores": {name: tuple(pair) for name, pair in values["scores"].items()}})
            for values in map(json.loads, file)
        ]


ORDERS = {
    "worst": Sentence("Worst first"),
    "best": Sentence("Best first"),
    "gained": Sentence("Most gained first"),
    "lost": Sentence("Most lost first"),
    "file": Sentence("As in the data"),
}


def sort_rows(rows: Sequence[Prediction], order: str = "worst", search: str = "") -> list[Prediction]:
    """Return the rows that contain every word of `search`, sorted by `order`, a key of `ORDERS`.

    Ties are broken by the following scores, then by position.
    """
    looked_for = search.casefold().split()
    found = [
        row
        for row in rows
        if all(
            word in "\n".join((row.prompt, row.expected, row.rejected, row.base, row.fine_tuned)).casefold()
            for word in looked_for
        )
    ]
    names = [name for name in SCORES if rows and name in rows[0].scores]
    if order in ("gained", "lost"):
        sign = 1 if order == "lost" else -1
        return sorted(found, key=lambda row: [sign * (row.scores[name][1] - row.scores[name][0]) for name in names])
    if order in ("worst", "best"):
        sign = 1 if order == "worst" else -1
        return sorted(found, key=lambda row: [sign * row.scores[name][1] for name in names])
    return found


def as_csv(rows: Sequence[Prediction]) -> str:
    """All rows and scores as CSV with a header. Cells that a spreadsheet would read as a formula are prefixed with an
    apostrophe.
    """
    names = [name for name in SCORES if rows and name in rows[0].scores]
    worse = any(row.rejected for row in rows)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        [
            "prompt",
            "expected",
            *(["rejected"] if worse else []),
            "base",
            "fine_tuned",
            *(f"{who}_{name}" for name in names for who in ("base", "fine_tuned")),
        ]
    )
    for row in rows:
        texts = [row.prompt, row.expected, *([row.rejected] if worse else []), row.base, row.fine_tuned]
        writer.writerow([*map(_harmless, texts), *(f"{value:.6g}" for name in names for value in row.scores[name])])
    return out.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text

"""The answers to the validation rows, base beside fine-tuned: made into figures with intervals, and kept in a file of bounded size.

`predictions.jsonl` lies in the run's folder, a row a line. It is the person's own data, so it never travels with an adapter.
It knows nothing about models, nor about how a table looks.
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
MOST_CHARACTERS = 24_000_000  # in one file; texts are cut where they would not fit
_LONGEST = 8_000  # characters of one text


@dataclass(frozen=True)
class Score:
    """A figure of one row, whose mean is the run's figure. share: it lies between 0 and 1 and is read as a percentage; agreed: the base model's
    is not measured but follows from what the score is."""

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
            "How much likelier the better answer is than the worse one, on average: the difference of their log-probabilities."
        ),
        share=False,
    ),
    "heeded": Score(
        Sentence("Feedback heeded"),
        Sentence(
            "How many validation answers became likelier where they are marked good and less likely where bad; one half before training."
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
"""Every score a row can have. The first one that a run's rows have is what "worst first" goes by."""
MACRO_F1 = Score(
    Sentence("Macro F1"),
    Sentence(
        "How well each label is found and told apart from the others, on average: a rare label counts as much as a frequent one."
    ),
)
"""A figure of all rows together."""


@dataclass(frozen=True)
class Prediction:
    """One validation row. scores: name in `SCORES` → (of the base model, of the fine-tuned one). rejected: the worse answer of a pair."""

    prompt: str
    expected: str
    base: str
    fine_tuned: str
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    rejected: str = ""


def summarise(rows: Sequence[Prediction]) -> dict:
    """Means of all scores, {"exact_match": …, "base_exact_match": …}, and under "intervals" for each score the 95 % intervals
    {"base": (low, high), "fine_tuned": …, "difference": …}, the last of fine-tuned − base on the same rows; None where nothing can be said."""
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
    """Keep `rows` in `folder`: all of them, with texts cut where the file would grow beyond `MOST_CHARACTERS`. Whole or not at all."""
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
    """The rows that `write` kept in `folder`; [] where there are none."""
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
    """The rows that hold every word of `search`, in an order of `ORDERS`; ties are settled by the scores that follow, then by place."""
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
    """Every row and score as CSV with a header; cells that a spreadsheet would take for a formula get an apostrophe in front."""
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

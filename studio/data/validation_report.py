"""Findings on the validation data: where its rows come from, and what would bias the evaluation.

Independent of models.
"""

from __future__ import annotations

import numpy as np

from studio.data.dataset import Dataset
from studio.data.findings import Finding, lines_of
from studio.data.splitting import duplicate_rows
from studio.words import Sentence


def validation_findings(dataset: Dataset) -> list[Finding]:
    """All findings of this module. `prompt_leakage` is omitted for plain text, which has no prompts."""
    asked = prompt_leakage(dataset) if dataset.want != "text" else []
    return [*all_leaked(dataset), *validation_duplicates(dataset), *used_as_validation(dataset), *asked]


def all_leaked(dataset: Dataset) -> list[Finding]:
    """Finding if all rows of the validation file are also in the training data."""
    counts = dataset.validation_counts
    if counts is None or len(dataset.validation) or not counts.skipped.get("leakage"):
        return []
    sentence = Sentence(
        "Every row of the validation file is also in the training data, so nothing can be measured. Choose another "
        "validation file, or none."
    )
    return [Finding("leakage", "block", sentence, counts.skipped["leakage"], [])]


def validation_duplicates(dataset: Dataset) -> list[Finding]:
    """Validation rows that equal an earlier one, which make metrics look more precise than they are."""
    again = duplicate_rows(dataset.validation)
    count = int(again.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, dataset.validation, again)
    sentence = Sentence(
        "{count} validation {count:row repeats|rows repeat} an earlier one exactly, first in {unit} {line}. "
        "{count:It is|They are} measured more than once, so results look surer than they are.",
        count=count,
        **first,
    )
    return [Finding("validation_duplicate", "warning", sentence, count, lines, files)]


def used_as_validation(dataset: Dataset) -> list[Finding]:
    """Rows of the training files that are in a file or folder named test or validation, and used as such."""
    which = (dataset.validation.column("is_validation") > 0) & (dataset.validation.column("parts") < len(dataset.parts))
    count = int(which.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, dataset.validation, which)
    sentence = Sentence(
        "{count} {count:row stands|rows stand} in a folder or file called test or validation, first in {unit} "
        "{line}, so {count:it is|they are} in the validation set and not trained on. "
        "The setting Validation fraction changes nothing then.",
        count=count,
        **first,
    )
    return [Finding("own_validation", "info", sentence, count, lines, files)]


def prompt_leakage(dataset: Dataset) -> list[Finding]:
    """Validation rows whose prompt is also in the training data, with another answer."""
    same = np.isin(dataset.validation.inputs, dataset.train.inputs)
    count = int(same.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, dataset.validation, same)
    sentence = Sentence(
        "{count} validation {count:row asks|rows ask} what a training row also asks, first in {unit} {line}. The "
        "measured quality will be too good for {count:it|them}.",
        count=count,
        **first,
    )
    return [Finding("prompt_leakage", "warning", sentence, count, lines, files)]

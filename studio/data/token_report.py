"""Findings that need token counts: truncated rows, rows without trained tokens, rows that a chat template rejects.

The functions that count tokens are passed in, so this module is independent of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from studio.data.dataset import Dataset
from studio.data.findings import Finding, by_level, places
from studio.data.report import Report, histogram
from studio.words import Sentence, StudioError

ENCODED = 2000
"""Maximum number of records that are tokenized to measure their length; larger datasets are sampled evenly."""
TRIED = 16
"""Maximum number of rejected rows per kind that are kept to try remedies on."""
TOO_MANY = 0.1
"""Share of rejected rows above which Start is blocked, because the rest no longer represents the dataset."""


@dataclass(frozen=True)
class Refused:
    """A row that the chat template rejects, and the reason. value: its record, kept for the first rows only."""

    number: int
    file: str
    reason: Sentence
    value: dict | None


@dataclass
class Tokens:
    """Token counts of the sampled training rows, after the remedy for long rows and before truncation.

    numbers, files: line number of each row, and its file if there are several; rows: token counts of the sequences of
    each row: one, or two if answers are compared; firsts: index of the first trained token of each row, None if there
    is none; unseen: indices into `rows` of those with content that the chat template omits; refused: kind of rejection
    ("refused": the chat template does not accept the row, "unfound": the answer cannot be located in the rendered text)
    → rows; ways, templates: remedies, and alternative chat templates, with which the first rejected rows are accepted;
    endless: applicable remedies if the template writes no end-of-turn text after an answer, else None; looked: number
    of sampled rows; changed: how many of these the remedy for long rows shortened or removed.
    """

    numbers: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    firsts: list[int | None] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    refused: dict[str, list[Refused]] = field(default_factory=dict)
    ways: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    endless: tuple[str, ...] | None = None
    looked: int = 0
    changed: int = 0

    @property
    def lengths(self) -> list[int]:
        """Token count of the longest sequence of each row, which decides whether the row is truncated."""
        return [max(rows) for rows in self.rows]


def count_tokens(
    dataset: Dataset,
    measure: Callable[[dict], tuple[list[int], int | None]],
    fit: Callable[[dict], dict | None] = lambda value: value,
    unseen: Callable[[dict], bool] = lambda value: False,
) -> Tokens:
    """Count the tokens of all training rows, or of an even sample of at most `ENCODED`.

    measure: record value → (token counts of its sequences, index of the first trained token); fit: returns the record
    as it is trained on, or None if it is left out; unseen: whether the chat template omits part of the record.
    """
    found = Tokens()
    for record in dataset.train[:: max(1, -(-len(dataset.train) // ENCODED))]:
        labelled = fit(record.value)
        found.looked += 1
        found.changed += labelled is not record.value
        if labelled is not None:
            try:
                rows, first = measure(labelled)
                left_out = unseen(labelled)
            except StudioError as error:
                same = found.refused.setdefault(getattr(error, "kind", "refused"), [])
                same.append(
                    Refused(record.number, record.file, error.sentence, labelled if len(same) < TRIED else None)
                )
                continue
            if left_out:
                found.unseen.append(len(found.rows))
            found.numbers.append(record.number)
            found.files.append(record.file)
            found.rows.append(rows)
            found.firsts.append(first)
    return found


def with_tokens(found: Report, tokens: Tokens, max_length: int, *, remedy: str = "", splits: bool = False) -> Report:
    """Return the report `found` with the token histogram and the findings of this module.

    max_length: maximum number of tokens kept per sequence; remedy: the remedy chosen for longer rows, "" if none;
    splits: whether longer rows are split into several examples, so that nothing is truncated.
    """
    more = [
        *refusals(tokens),
        *too_long(tokens, max_length, remedy, splits),
        *nothing_labelled(tokens, max_length),
        *not_written(tokens),
        *no_end(tokens),
    ]
    remedied = found.remedied | ({"long": tokens.changed} if remedy else {})
    return replace(
        found,
        lengths={**found.lengths, "tokens": histogram(tokens.lengths, "tokens")},
        findings=by_level([*found.findings, *more]),
        remedied=remedied,
        looked=tokens.looked,
        tokens=sum(map(sum, tokens.rows)),
    )


def too_long(tokens: Tokens, max_length: int, remedy: str = "", splits: bool = False) -> list[Finding]:
    """Rows that are longer than `max_length` tokens, or that were all removed for this reason."""
    if tokens.looked and not tokens.rows and not tokens.refused:
        sentence = Sentence(
            "{checked:The only row|Each of the {checked} rows looked at} is longer than {limit} tokens and left out. "
            "Raise Max sequence length, or undo the remedy.",
            checked=tokens.looked,
            limit=max_length,
        )
        return [Finding("still_long", "block", sentence, tokens.looked, [])]
    over = [index for index, size in enumerate(tokens.lengths) if size > max_length]
    if not over:
        return []
    values = {
        "count": len(over),
        "checked": tokens.looked,
        "limit": max_length,
        "cut": sum(max(0, size - max_length) for rows in tokens.rows for size in rows),
    }
    if splits:
        kind, level, sentence = (
            "pieces",
            "info",
            Sentence(
                "{count} of {checked} {checked:text|texts} looked at {count:is|are} longer than {limit} tokens; "
                "{count:it is|they are} split into several examples, and nothing is cut off.",
                **values,
            ),
        )
    elif remedy:
        kind, level, sentence = (
            "still_long",
            "warning",
            Sentence(
                "{count} of {checked} {checked:row|rows} looked at {count:is|are} longer than {limit} tokens "
                "even without what may be left out, so {count:it stays as it is|they stay as they are}; {cut} "
                "{cut:token|tokens} will be cut off at "
                "the end. Raise Max sequence length, or shorten {count:its answer or system text|their answers "
                "or system texts} in the file.",
                **values,
            ),
        )
    else:
        kind, level, sentence = (
            "long",
            "warning",
            Sentence(
                "{count} of {checked} {checked:row|rows} looked at {count:is|are} longer than {limit} tokens; {cut} "
                "{cut:token|tokens} would be cut off at the end. Raise the length, shorten {count:it, or leave "
                "it|them, or leave them} out.",
                **values,
            ),
        )
    return [_about(tokens, over, kind, level, sentence)]


def nothing_labelled(tokens: Tokens, max_length: int) -> list[Finding]:
    """Rows without a token in the loss: there is no answer, or it begins after the truncation limit."""
    bare = [index for index, first in enumerate(tokens.firsts) if first is None or first >= max_length]
    if not bare or not tokens.rows:
        return []
    values = {"checked": len(tokens.firsts), "limit": max_length}
    if len(bare) == len(tokens.firsts):
        level, sentence = (
            "block",
            Sentence(
                "{checked:The only row has no|None of the {checked} rows looked at has a} token to train on: every "
                "answer is empty, marked as not to be trained on, or begins behind {limit} tokens. "
                "Raise Max sequence length, or look at the marks in the file.",
                **values,
            ),
        )
    else:
        level, sentence = (
            "error",
            Sentence(
                "{count} of {checked} {checked:row|rows} looked at {count:has no token to train on and is|have no "
                "token to train on and are} left out: the answer is empty, marked as not to be trained on, or begins "
                "behind {limit} tokens.",
                count=len(bare),
                **values,
            ),
        )
    return [_about(tokens, bare, "nothing", level, sentence)]


def refusals(tokens: Tokens) -> list[Finding]:
    """Rows that the chat template rejects, and rows whose answer cannot be located in the rendered text."""
    found = []
    for kind, rows in tokens.refused.items():
        values = {"count": len(rows), "checked": tokens.looked, "reason": rows[0].reason}
        if len(rows) > TOO_MANY * tokens.looked:
            level, sentence = (
                "block",
                Sentence(
                    "{count} of {checked} {checked:row|rows} looked at cannot be trained on, which is too many to "
                    "go on. The first: {reason}",
                    **values,
                ),
            )
        else:
            level, sentence = (
                "error",
                Sentence(
                    "{count} of {checked} {checked:row|rows} looked at {count:is|are} left out. The first: {reason}",
                    **values,
                ),
            )
        found.append(
            Finding(
                kind,
                level,
                sentence,
                len(rows),
                *places((row.number, row.file) for row in rows),
                actions=tokens.ways if kind == "refused" else (),
                templates=tokens.templates,
            )
        )
    return found


def no_end(tokens: Tokens) -> list[Finding]:
    """A chat template that writes nothing after an answer, so the model is not trained to stop."""
    if tokens.endless is None or not tokens.rows:
        return []
    sentence = Sentence(
        "The chat template writes nothing behind an answer, so the model does not learn where an answer ends and may "
        "go on and on. Choose another template, or train on an end token."
    )
    return [Finding("no_end", "warning", sentence, tokens.looked, [], actions=tokens.endless)]


def not_written(tokens: Tokens) -> list[Finding]:
    """Rows with content that the chat template omits, such as tools or calls."""
    if not tokens.unseen:
        return []
    sentence = Sentence(
        "{count} of {checked} {checked:row|rows} looked at {count:holds|hold} tools, calls, system texts, thoughts "
        "or words of answers that the chat template does not write, so the model never sees them. "
        "Choose another template under What the model sees, or a base model whose own template has them.",
        count=len(tokens.unseen),
        checked=len(tokens.rows),
    )
    return [_about(tokens, tokens.unseen, "unseen", "warning", sentence)]


def _about(tokens: Tokens, which: list[int], kind: str, level: str, sentence: Sentence) -> Finding:
    """Finding on the rows at the indices `which`, with their first line numbers."""
    return Finding(
        kind, level, sentence, len(which), *places((tokens.numbers[index], tokens.files[index]) for index in which)
    )

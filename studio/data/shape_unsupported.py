"""Recognise data of kinds that cannot be trained on here and would be mistaken for another: raise StudioError."""

from __future__ import annotations

import re
from itertools import islice

from studio.data.cells import as_text
from studio.data.columns import Columns, named
from studio.data.row_cells import normal
from studio.data.rows import Row
from studio.data.shape_graded import flags_beside
from studio.data.speakers import ROLES, speaker
from studio.words import StudioError

_SPEAKERS = ("role", "from", "speaker", "author", "sender")
_TAGGED = re.compile(r"\S+(?:[ \t]+\S+)*[ \t]+(?:O|[BIESLU]-[\w-]+)")
_LINES = 200  # lines of a text file that are looked at


def check_supported(columns: Columns, rows: list[Row], name: str, format: str) -> None:
    """Raise StudioError for single messages, judged steps, numbers in place of answers, and words with tags.

    name: the source.
    """
    if (column := _speaker_column(columns)) is not None:
        raise StudioError(
            "Each row of {name} is one message, and '{column}' says who wrote it, so no row is a conversation. Put all "
            "messages of a conversation into one row, as a list in a column 'messages'.",
            name=name,
            column=column,
        )
    answers = named(columns, "answers")
    if answers and columns[answers].ranked and (flags := flags_beside(rows, answers)):
        raise StudioError(
            "The lists in '{column}' of {name} are steps, and '{flags}' says which of them are right (stepwise "
            "supervision), which cannot be trained on here. Put the whole answer into one text, and use only the right "
            "ones.",
            name=name,
            column=answers,
            flags=flags,
        )
    _check_chosen(columns, answers, name)
    if format == "text" and _is_tagged(rows):
        raise StudioError(
            "{name} has a tag behind each word (CoNLL), which cannot be trained on here. Use texts with a label for "
            "the whole text.",
            name=name,
        )


def _check_chosen(columns: Columns, answers: str | None, name: str) -> None:
    """Raise StudioError if the column of the better answers holds their numbers in a list of answers."""
    chosen = named(columns, "chosen")
    if (
        answers
        and chosen
        and columns[answers].lists
        and all(value.strip().isdecimal() for value in columns[chosen].values)
    ):
        raise StudioError(
            "Column '{column}' of {name} holds numbers of answers in '{answers}'. Put the words of the better answer "
            "in their place, and those of the worse one into a column 'rejected'.",
            column=chosen,
            name=name,
            answers=answers,
        )


def _speaker_column(columns: Columns) -> str | None:
    """A column of speakers' names, if there is one beside a text: user and assistant, one in each row."""
    for name, column in columns.items():
        if normal(name) not in _SPEAKERS or column.texts < column.filled or not column.filled:
            continue
        spoke = {ROLES.get(speaker({"role": value})) for value in column.values}
        if None not in spoke and {"user", "assistant"} <= spoke and named(columns, "text", {name}):
            return name
    return None


def _is_tagged(rows: list[Row]) -> bool:
    lines = list(islice((line for row in rows for line in as_text(row.values.get("text")).splitlines()), _LINES))
    tagged = [line for line in lines if _TAGGED.fullmatch(line.strip())]
    return len(tagged) >= 4 and len(tagged) >= 0.9 * len(lines) and any(not line.endswith(" O") for line in tagged)

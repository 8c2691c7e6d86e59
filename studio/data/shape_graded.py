"""Recognise two answers side by side with a column that names the better one, and answers with their grades."""

from __future__ import annotations

from studio.data.cells import as_list
from studio.data.columns import SYNONYMS, Columns, Found, named, names_evidence, with_extra
from studio.data.gradings import first_is_better, grades_in, is_tie, two_columns
from studio.data.mapping import Mapping
from studio.data.row_cells import normal
from studio.data.rows import Row
from studio.words import Sentence, StudioError

_AROUND = ("input", "history", "system", "tools")
_ANSWERS = {*SYNONYMS["completion"], *SYNONYMS["messages"], "human_ref", "summary", "generation", "candidate"}
_JUDGES = ("better", "best", "prefer", "winner", "choice", "chosen", "label", "vote", "verdict")


def side_by_side(columns: Columns, rows: list[Row]) -> Found:
    """Recognise two columns of answers, such as response_0 and response_1, and the column that names the better one.

    Raises StudioError if no column does.
    """
    found = two_columns([name for name, column in columns.items() if column.filled], _ANSWERS)
    if found is None:
        return None
    better = next((name for name in _judges(columns) if _names_one(rows, name, *found)), None)
    if better is None:
        raise StudioError(
            "Each row has two answers, in '{first}' and '{second}', and no column says in a way known here which one "
            "is better. Put the better ones into a column 'chosen' and the others into a column 'rejected', or choose "
            "the shape and its columns yourself.",
            first=found[0],
            second=found[1],
        )
    whole = all(2 * columns[name].ordered >= columns[name].filled for name in found)
    prompt = (
        None if whole else named(columns, "prompt", {*found, better}) or named(columns, "history", {*found, better})
    )
    roles = {**({"prompt": prompt} if prompt else {}), "chosen": found[0], "rejected": found[1], "better": better}
    roles = with_extra(columns, roles, _AROUND if prompt else _AROUND[1:])
    evidence = Sentence(
        "Column '{column}' says which answer is the better one, '{first}' or '{second}'.",
        column=better,
        first=found[0],
        second=found[1],
    )
    return Mapping(shape="preference", roles=roles), [
        evidence,
        *names_evidence(
            {role: column for role, column in roles.items() if role not in ("chosen", "rejected", "better")}
        ),
    ]


def _judges(columns: Columns) -> list[str]:
    """Columns whose names are those of a judgement, in the order of `_JUDGES`."""
    return [name for word in _JUDGES for name, column in columns.items() if word in normal(name) and column.texts]


def _names_one(rows: list[Row], judge: str, first: str, second: str) -> bool:
    """Whether the column `judge` names one of the two columns, or a tie, in nearly every row, and each of them once."""
    values = [row.values.get(judge) for row in rows]
    named_first = [first_is_better(value, first, second) for value in values]
    told = sum(better is not None or is_tie(value) for better, value in zip(named_first, values, strict=True))
    return told >= 0.95 * len(rows) and any(better is not None for better in named_first)


def scores_beside(columns: Columns, rows: list[Row], answers: str) -> str | None:
    """The column with a list of grades, one for each answer of most rows; None if there is none."""
    scores = named(columns, "scores", {answers})
    if scores is None:
        return None
    fitting = sum(
        len(grades_in(row.values.get(scores), scores) or ()) == len(as_list(row.values.get(answers)) or "-")
        for row in rows
    )
    return scores if 2 * fitting >= len(rows) else None


def flags_beside(rows: list[Row], answers: str) -> str | None:
    """A column with a list of true and false, one for each text in `answers`, which are steps of one answer then."""
    for name in rows[0].values if rows else ():
        lists = [(as_list(row.values.get(name)), as_list(row.values.get(answers))) for row in rows]
        if name != answers and all(
            flags and texts and len(flags) == len(texts) and all(isinstance(flag, bool) for flag in flags)
            for flags, texts in lists
        ):
            return name
    return None

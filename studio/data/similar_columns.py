"""Apply a mapping to the first rows of a file: rows that it cannot use, and whether it fits the validation file.

Only the first rows are read.
"""

from __future__ import annotations

import itertools

from studio.data.mapping import ROLES, Mapping, Want, apply, check_mapping, fits
from studio.data.rows import RowProblem
from studio.data.shape import LOOKED_AT, Proposal, propose
from studio.data.source import Source
from studio.words import Sentence, StudioError


def propose_same_mapping(source: Source, other: Mapping, want: Want) -> Proposal:
    """Propose a mapping for the validation file `source`: `other`, the mapping of the training data, if it fits.

    Optional columns that are missing are dropped from it. If required columns are missing, the mapping that fits
    `source` best is proposed, of the same shape if possible.
    """
    missing = {column for column in (*other.roles.values(), *other.labels) if column not in source.columns}
    if not missing:
        return Proposal(other, [])
    if not any(
        column in missing and ROLES[other.shape].get(role, True) for role, column in other.roles.items()
    ) and not missing & set(other.labels):
        kept = {role: column for role, column in other.roles.items() if column not in missing}
        text = Sentence(
            "{name} has no {columns}; the other columns are read as in the training data.",
            name=source.name,
            columns=", ".join(sorted(missing)),
        )
        return Proposal(other.model_copy(update={"roles": kept}), [text])
    try:
        own = propose(source, want)
    except StudioError:
        return Proposal(other, [])  # `check_mapping` will reject it with the names of the missing columns
    serving = [mapping for mapping in (own.mapping, *own.alternatives) if fits(mapping, want)]
    if not serving:
        return Proposal(other, [])
    mapping = next((mapping for mapping in serving if mapping.shape == other.shape), serving[0])
    text = Sentence(
        "{name} has other columns than the training data, so they were recognised by themselves: {columns}.",
        name=source.name,
        columns=", ".join(f"{column} ({role})" for role, column in mapping.roles.items()),
    )
    return Proposal(
        mapping.model_copy(update={"system": other.system}),
        [text, *(own.evidence if mapping is own.mapping else [])],
        own.alternatives,
    )


def lost_rows(source: Source, mapping: Mapping, want: Want, separator: str = "") -> tuple[list[int], int]:
    """Return (numbers of the rows that cannot be used under `mapping`, number of rows examined).

    The first `LOOKED_AT` rows are examined. separator: see `mapping.apply`. Raises StudioError if `mapping` does not
    fit the columns at all.
    """
    check_mapping(mapping, source.columns, want, source.name)
    rows, lost = list(itertools.islice(source.rows(), LOOKED_AT)), []
    for row in rows:
        try:
            apply(mapping, row, want, source.name, source.unit, separator=separator)
        except RowProblem:
            lost.append(row.number)
    return lost, len(rows)

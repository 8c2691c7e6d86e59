"""A mapping tried on a file: which of its rows would be lost, and whether the validation file can be mapped like the data to learn from.

Looks at the first rows only.
"""

from __future__ import annotations

import itertools

from studio.data.mapping import ROLES, Mapping, Want, apply, check_mapping, fits
from studio.data.rows import RowProblem
from studio.data.shape import LOOKED_AT, Proposal, propose
from studio.data.source import Source
from studio.words import Sentence, StudioError


def propose_same_mapping(source: Source, other: Mapping, want: Want) -> Proposal:
    """`other`, the mapping of the data to learn from, where it serves the validation `source` too (but for columns that may be missing);
    else what fits `source` itself, of the same shape where that can be."""
    missing = {column for column in (*other.roles.values(), *other.labels) if column not in source.columns}
    if not missing:
        return Proposal(other, [])
    if not any(
        column in missing and ROLES[other.shape].get(role, True) for role, column in other.roles.items()
    ) and not missing & set(other.labels):
        kept = {role: column for role, column in other.roles.items() if column not in missing}
        text = Sentence(
            "{name} has no {columns}; the other columns are read as in the data to learn from.",
            name=source.name,
            columns=", ".join(sorted(missing)),
        )
        return Proposal(other.model_copy(update={"roles": kept}), [text])
    try:
        own = propose(source, want)
    except StudioError:
        return Proposal(other, [])  # to be refused with the names of its columns
    serving = [mapping for mapping in (own.mapping, *own.alternatives) if fits(mapping, want)]
    if not serving:
        return Proposal(other, [])
    mapping = next((mapping for mapping in serving if mapping.shape == other.shape), serving[0])
    text = Sentence(
        "{name} has other columns than the data to learn from, so they were recognised by themselves: {columns}.",
        name=source.name,
        columns=", ".join(f"{column} ({role})" for role, column in mapping.roles.items()),
    )
    return Proposal(
        mapping.model_copy(update={"system": other.system}),
        [text, *(own.evidence if mapping is own.mapping else [])],
        own.alternatives,
    )


def lost_rows(source: Source, mapping: Mapping, want: Want, separator: str = "") -> tuple[list[int], int]:
    """(numbers of the rows that cannot be used under `mapping`, how many were looked at), of the first `LOOKED_AT`. separator: see `apply`.
    Raises StudioError where `mapping` does not fit the columns at all."""
    check_mapping(mapping, source.columns, want, source.name)
    rows, lost = list(itertools.islice(source.rows(), LOOKED_AT)), []
    for row in rows:
        try:
            apply(mapping, row, want, source.name, source.unit, separator=separator)
        except RowProblem:
            lost.append(row.number)
    return lost, len(rows)

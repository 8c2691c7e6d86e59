"""All rows of a source → training and held-out records, the problems on the way, and the counts.

    dataset = load(DataSpec(source="captain"), want="messages")
    dataset.train[0].value["messages"]

Rows in the file = rows used + rows skipped, always. Knows nothing about tokens or models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from studio.data.mapping import Mapping, Want, apply, check_mapping
from studio.data.read import Source, open_source
from studio.data.records import Records, RecordStore
from studio.data.resolve import resolve
from studio.data.rows import Problem, Problems, Row, RowProblem, place
from studio.data.shape import propose
from studio.options import Options, option
from studio.words import Sentence, StudioError

PREVIEW_ROWS = 50
_TELL_EVERY = 5000


class DataSpec(Options):
    """What to learn from: the data part of a recipe."""

    source: str = option("captain", "Data", "An example, a file on this computer, or hub:owner/name for a dataset on the Hugging Face Hub.")
    mapping: Mapping | None = option(None, "Columns", "Which column plays which role. Empty: as proposed.", hidden=True)
    heldout: str | None = option(
        None, "Held-out file", "A file kept apart to measure on. Empty: the example's own, or else a part of the data.", advanced=True
    )
    heldout_fraction: float = option(
        0.1, "Held-out part", "Part of the data kept apart to measure on, where there is no held-out file. 0: none.", ge=0.0, le=0.5, slider=True
    )
    max_rows: int | None = option(None, "Rows at most", "Learn from the first rows only. Empty: from all.", unit="rows", ge=1, advanced=True)
    encoding: str | None = option(
        None, "Encoding", "How the file's bytes stand for characters, for example utf-8 or gb18030. Empty: recognised.", advanced=True
    )
    seed: int = option(0, "Seed of the split", "The same seed keeps the same rows apart.", ge=0, advanced=True)


@dataclass
class Counts:
    """What became of a file's rows: rows = used + sum of skipped (kind → rows)."""

    rows: int = 0
    used: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass
class Dataset:
    """train, heldout: sequences of `Record`; problems: by line, errors cost a row; counts: of the data's file;
    heldout_counts: of the held-out file, None where a part of the data was kept apart; preview: the first rows as they
    stand in the file; evidence: what spoke for a proposed mapping."""

    title: str
    want: Want
    mapping: Mapping
    train: Records
    heldout: Records
    problems: Problems
    counts: Counts
    heldout_counts: Counts | None
    format: str
    encoding: str | None
    unit: str
    columns: list[str]
    preview: list[Row]
    evidence: list[Sentence] = field(default_factory=list)


def load(spec: DataSpec, want: Want = "messages", progress: Callable[[int], None] | None = None) -> Dataset:
    """Reads, maps, checks and splits the data of `spec` into records of kind `want`.

    progress: called now and then with the number of rows read. Raises StudioError, one sentence, where nothing can be
    learnt: an unreadable file, a mapping that does not fit, no usable row.
    """
    resolved = resolve(spec.source)
    source = open_source(resolved.train, encoding=spec.encoding)
    mapping, evidence = spec.mapping, []
    if mapping is None:
        proposal = propose(source, want)
        mapping, evidence = proposal.mapping, proposal.evidence
    check_mapping(mapping, source.columns, want, source.name)
    store, problems, preview = RecordStore(), Problems(), []
    counts = _read(source, mapping, want, store, problems, preview, spec.max_rows, progress)
    split_at, heldout_counts = len(store), None
    chosen = resolve(spec.heldout).train if spec.heldout else resolved.heldout
    if chosen is not None:
        other = open_source(chosen, encoding=spec.encoding if spec.heldout else None)
        check_mapping(mapping, other.columns, want, other.name)
        heldout_counts = _read(other, mapping, want, store, problems, [], None, progress, file=other.name)
    store.seal()
    if heldout_counts is None:
        train, heldout = _split(store, spec.heldout_fraction, spec.seed)
    else:
        train = Records(store, np.arange(split_at))
        heldout = _without_leaks(train, Records(store, np.arange(split_at, len(store))), problems, heldout_counts, other)
    if not len(heldout) and (spec.heldout_fraction or chosen is not None):
        problems.add(Problem(0, Sentence("No row is left to measure on. Add more different rows, or choose a held-out file."), "heldout", "warning"))
    return Dataset(
        resolved.title, want, mapping, train, heldout, problems, counts, heldout_counts, source.format, source.encoding, source.unit,
        source.columns, preview, evidence,
    )


def _read(
    source: Source, mapping: Mapping, want: Want, store: RecordStore, problems: Problems, preview: list[Row], limit: int | None,
    progress: Callable[[int], None] | None, file: str = "",
) -> Counts:
    """Appends the usable rows of `source` to `store`, and what is wrong with the others to `problems`."""
    own, seen, used = Problems(), 0, 0
    rows = source.rows()
    for row in rows:
        seen += 1
        if len(preview) < PREVIEW_ROWS:
            preview.append(row)
        try:
            record = apply(mapping, row, want, source.name, source.unit)
            store.add(row.number, record, row.file)
        except RowProblem as problem:
            own.add(Problem(row.number, problem.sentence, problem.kind, file=row.file or file))
        except UnicodeEncodeError:
            sentence = Sentence(
                "{place} holds half a character (a lone surrogate). Mend that text or remove the row.",
                place=place(row.file or source.name, row.number, source.unit),
            )
            own.add(Problem(row.number, sentence, "bytes", file=row.file or file))
        else:
            used += 1
            if used == limit:
                break
        if progress and seen % _TELL_EVERY == 0:
            progress(seen)
    rows.close()
    own.merge(source.problems)
    counts = Counts(seen + source.problems.rows, used, dict(own.errors))
    if progress:
        progress(counts.rows)
    if not used:
        raise _nothing_usable(source, counts, own)
    problems.merge(own)
    return counts


def _nothing_usable(source: Source, counts: Counts, problems: Problems) -> StudioError:
    kind, count = problems.errors.most_common(1)[0]
    first = min((problem for problem in problems if problem.kind == kind and problem.level == "error"), key=lambda problem: problem.line)
    return StudioError(
        "None of the {rows} rows of {name} can be used. The most common reason ({count} rows): {reason}", rows=counts.rows, name=source.name,
        count=count, reason=first.sentence,
    )


def _split(store: RecordStore, fraction: float, seed: int) -> tuple[Records, Records]:
    """A share of the different records, chosen by content and seed: equal records always fall on the same side, and
    neither the order of the file nor rows added later move the others far."""
    every = Records(store, np.arange(len(store)))
    different = np.unique(every.digests)
    count = min(max(1, round(fraction * len(different))), len(different) - 1) if fraction else 0
    apart = different[np.argsort(_mix(different, seed), kind="stable")[:count]]
    held = np.isin(every.digests, apart)
    return Records(store, every.indices[~held]), Records(store, every.indices[held])


def _mix(values: np.ndarray, seed: int) -> np.ndarray:
    """splitmix64 (Steele, Lea & Flood 2014) of values and seed."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _without_leaks(train: Records, heldout: Records, problems: Problems, counts: Counts, source: Source) -> Records:
    """`heldout` without the rows that are also in `train`: measuring on them would flatter the result."""
    leaked = np.isin(heldout.digests, train.digests)
    for number in map(int, heldout.numbers[leaked]):
        sentence = Sentence(
            "{place} is also in the training data, so it is not measured on. Remove it from one of the two.",
            place=place(source.name, number, source.unit),
        )
        problems.add(Problem(number, sentence, "leakage", "warning", source.name))
    if leaked.any():
        counts.used -= int(leaked.sum())
        counts.skipped["leakage"] = int(leaked.sum())
    return Records(heldout.store, heldout.indices[~leaked])

"""Load one or more data files as training and validation records, with the problems found and the row counts.

    dataset = load(DataSpec(source="captain"), want="messages")
    dataset.train[0].value["messages"]

Invariant: rows in the files = rows used + rows skipped; rows that a remedy removes count as skipped. Reading the files
is in `reading.py`, the steps that need all records (train/validation split, remedies that remove or move rows, weights)
are in `splitting.py`. Independent of tokenizers and models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from studio.data import splitting
from studio.data.data_spec import DataSpec
from studio.data.mapping import Mapping, Want
from studio.data.reading import Part, Reading
from studio.data.records import Records, RecordStore
from studio.data.resolve import resolve
from studio.data.rows import Counts, Problem, Problems, Row
from studio.data.spelling import spellings
from studio.words import Sentence, StudioError


@dataclass
class Dataset:
    """Training and validation records of one task, and how they were read.

    train, validation: sequences of `Record`; problems: with line numbers, each error stands for one skipped row;
    counts: sum over the training files; parts: the training files; measured: the validation file, None where the
    validation rows were taken from the training files; format, encoding, unit, columns, preview (the first rows as
    read) and evidence (reasons for the proposed mapping): those of the first file; remedied: kind of remedy → rows that
    it changed, moved or removed.
    """

    title: str
    want: Want
    mapping: Mapping
    train: Records
    validation: Records
    problems: Problems
    counts: Counts
    measured: Part | None
    format: str
    encoding: str | None
    unit: str
    columns: list[str]
    preview: list[Row]
    evidence: list[Sentence] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    remedied: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> list[Part]:
        """All files that were read: the training files, then the validation file if there is one."""
        return [*self.parts, *([self.measured] if self.measured else [])]

    @property
    def validation_counts(self) -> Counts | None:
        return self.measured.counts if self.measured else None


def load(
    spec: DataSpec,
    want: Want = "messages",
    progress: Callable[[int], None] | None = None,
    place: BinaryIO | Path | None = None,
    separator: str = "",
) -> Dataset:
    """Read, map, check and split the data of `spec` into records of kind `want`.

    progress: called every few thousand rows with the number of rows read so far; may raise to cancel. place: file that
    stores the records, or folder to create one in; the system's temporary folder if None. separator: separator of
    several labels in one cell, see `mapping.apply`. Raises StudioError if there is nothing to train on: an unreadable
    file, a mapping that does not fit, no usable row.
    """
    resolved = resolve(spec.source)
    reading = Reading(spec, want, progress, RecordStore(place), labelled=bool(spec.more), separator=separator)
    first = reading.part(resolved.train, spec.mapping, spec.weight, spec.encoding, spec.max_rows)
    for other in spec.more:
        reading.part(resolve(other.source).train, other.mapping, other.weight, None, spec.max_rows)
    parts, used_as_validation = list(reading.parts), None
    chosen = resolve(spec.validation).train if spec.validation else resolved.validation
    if chosen is not None:
        own = (spec.validation_mapping, spec.encoding) if spec.validation else (None, None)
        used_as_validation = reading.part(chosen, own[0], 1.0, own[1], None, like=first.mapping)
    whole = _divided(spec, want, reading, parts)
    source = first.source
    title = resolved.title if len(parts) == 1 else " + ".join([resolved.title, *(part.name for part in parts[1:])])
    return Dataset(
        title,
        want,
        first.mapping,
        whole.train,
        whole.validation,
        reading.problems,
        sum((part.counts for part in parts), Counts()),
        used_as_validation,
        source.format,
        source.encoding,
        source.unit,
        source.columns,
        first.preview,
        first.evidence,
        parts,
        dict(reading.remedied),
    )


def _divided(spec: DataSpec, want: Want, reading: Reading, parts: list[Part]) -> splitting.Splitter:
    """Divide the records that were read into training and validation, and apply the remedies and weights that need all.

    parts: the training files. Raises StudioError if no training row is left.
    """
    store = reading.store
    store.seal()
    if "spelling" in spec.remedies and (changed := store.relabel(spellings(store, want))):
        reading.remedied["spelling"] = changed
    whole = splitting.Splitter(store, [part.counts for part in reading.parts], reading.problems, reading.remedied)
    parted = any(store.is_validation)
    if parted:
        whole.use_as_validation([part.source for part in reading.parts])
    else:
        whole.split(spec.validation_fraction, spec.seed)
    whole.remedy(spec.remedies, want, spec.seed)
    whole.draw([part.weight for part in parts], spec.seed)
    for index, part in enumerate(parts):
        part.drawn = int((whole.train.column("parts") == index).sum())
    if not len(whole.train):
        name = parts[0].name
        raise StudioError("No row of {name} is left to train on. Undo a remedy, or raise a weight.", name=name)
    if not len(whole.validation) and (spec.validation_fraction or parted):
        sentence = Sentence("No row is left to measure on. Add more different rows, or choose a validation file.")
        reading.problems.add(Problem(0, sentence, "validation", "warning"))
    return whole

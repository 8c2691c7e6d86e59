"""Load one or more data files as training and validation records, with the problems found and the row counts.

    dataset = load(DataSpec(source="captain"), want="messages")
    dataset.train[0].value["messages"]

Invariant: rows in the files = rows used + rows skipped; rows that a remedy removes count as skipped. The steps that
need all records (train/validation split, remedies that remove or move rows, weights) are in `splitting.py`. Independent
of tokenizers and models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import AfterValidator

from studio.data import splitting
from studio.data.languages import language_of
from studio.data.mapping import Mapping, Want, apply, check_mapping, columns_of
from studio.data.read import open_source
from studio.data.records import Records, RecordStore, label_of, texts
from studio.data.remedies import changes, checked, merged, rewritten
from studio.data.resolve import resolve
from studio.data.rows import Counts, Problem, Problems, Row, RowProblem, place
from studio.data.shape import propose
from studio.data.similar_columns import propose_same_mapping
from studio.data.source import Source
from studio.data.spelling import spellings
from studio.data.unused_columns import Unused
from studio.options import Options, option
from studio.words import Sentence, StudioError

PREVIEW_ROWS = 50
MORE_FILES = 32
_TELL_EVERY = 5000
_WEIGHT = {"gt": 0, "le": 100}


class OtherFile(Options):
    """An additional file of training data."""

    source: str = option(
        "", "Data", "An example, a file on this computer, or hub:owner/name for a dataset on the Hugging Face Hub."
    )
    mapping: Mapping | None = option(None, "Columns", "Which column plays which role. Empty: as proposed.", hidden=True)
    weight: float = option(
        1.0,
        "Weight",
        "How often each row is seen in an epoch: 2 is twice, 0.5 takes half of the rows.",
        unit="×",
        **_WEIGHT,
    )


class DataSpec(Options):
    """The data section of a recipe: sources, column mappings, weights, remedies and the validation split."""

    source: str = option(
        "captain",
        "Data",
        "An example, a file on this computer, or hub:owner/name for a dataset on the Hugging Face Hub.",
    )
    mapping: Mapping | None = option(None, "Columns", "Which column plays which role. Empty: as proposed.", hidden=True)
    weight: float = option(
        1.0,
        "Weight",
        "How often each row is seen in an epoch: 2 is twice, 0.5 takes half of the rows.",
        unit="×",
        hidden=True,
        **_WEIGHT,
    )
    more: list[OtherFile] = option(
        [],
        "More files",
        "Files that are mixed in, each with its own columns and weight.",
        hidden=True,
        max_length=MORE_FILES,
    )
    remedies: Annotated[dict[str, str], AfterValidator(checked)] = option(
        {},
        "Remedies",
        "What is done about findings while the file is read; the file itself stays as it is.",
        hidden=True,
    )
    validation: str | None = option(
        None,
        "Validation file",
        "A file for validation. Empty: the example's own, or else a part of the data.",
        advanced=True,
    )
    validation_mapping: Mapping | None = option(
        None,
        "Columns of the validation file",
        "Which column plays which role. Empty: as in the data to learn from, or as proposed where that does not fit.",
        hidden=True,
    )
    validation_fraction: float = option(
        0.1,
        "Validation fraction",
        "Part of the data for validation, 2,000 rows at most, where there is no validation file and no part called "
        "test or validation. 0: none.",
        ge=0.0,
        le=0.5,
        slider=True,
    )
    max_rows: int | None = option(
        None,
        "Max rows",
        "Learn from the first rows of each file only. Empty: from all.",
        unit="rows",
        ge=1,
        advanced=True,
    )
    encoding: str | None = option(
        None,
        "Encoding",
        "How the file's bytes stand for characters, for example utf-8 or gb18030. Empty: recognised.",
        advanced=True,
    )
    seed: int = option(0, "Seed of the split", "The same seed keeps the same rows apart.", ge=0, advanced=True)

    @property
    def sources(self) -> list[str]:
        """All sources that are read: the training files, then the validation file if one is given."""
        return [self.source, *(other.source for other in self.more), *([self.validation] if self.validation else [])]


@dataclass
class Part:
    """One data file and how it was read.

    counts: rows read, used and skipped, where a row that its weight repeats is used once; drawn: training rows of this
    file in one epoch, repetitions included; unused: columns that are not read; has_substance: those of them that hold
    prose or media; media: those of them that hold images, audio or video.
    """

    source: Source = field(repr=False)
    name: str
    mapping: Mapping
    weight: float
    counts: Counts
    columns: list[str] = field(default_factory=list)
    evidence: list[Sentence] = field(default_factory=list)
    preview: list[Row] = field(default_factory=list)
    drawn: int = 0
    unused: list[str] = field(default_factory=list)
    has_substance: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)

    def __getstate__(self) -> dict:
        return {**vars(self), "source": None}


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
    reading = _Reading(spec, want, progress, RecordStore(place), labelled=bool(spec.more), separator=separator)
    first = reading.part(resolved.train, spec.mapping, spec.weight, spec.encoding, spec.max_rows)
    for other in spec.more:
        reading.part(resolve(other.source).train, other.mapping, other.weight, None, spec.max_rows)
    parts, used_as_validation = list(reading.parts), None
    chosen = resolve(spec.validation).train if spec.validation else resolved.validation
    if chosen is not None:
        own = (spec.validation_mapping, spec.encoding) if spec.validation else (None, None)
        used_as_validation = reading.part(chosen, own[0], 1.0, own[1], None, like=first.mapping)
    store, problems = reading.store, reading.problems
    store.seal()
    if "spelling" in spec.remedies and (changed := store.relabel(spellings(store, want))):
        reading.remedied["spelling"] = changed
    whole = splitting.Splitter(store, [part.counts for part in reading.parts], problems, reading.remedied)
    parted = any(store.apart)
    if parted:
        whole.use_as_validation([part.source for part in reading.parts])
    else:
        whole.split(spec.validation_fraction, spec.seed)
    whole.remedy(spec.remedies, want, spec.seed)
    whole.draw([part.weight for part in parts], spec.seed)
    for index, part in enumerate(parts):
        part.drawn = int((whole.train.column("parts") == index).sum())
    if not len(whole.train):
        raise StudioError("No row of {name} is left to learn from. Undo a remedy, or raise a weight.", name=first.name)
    if not len(whole.validation) and (spec.validation_fraction or parted):
        problems.add(
            Problem(
                0,
                Sentence("No row is left to measure on. Add more different rows, or choose a validation file."),
                "validation",
                "warning",
            )
        )
    source = first.source
    title = resolved.title if len(parts) == 1 else " + ".join([resolved.title, *(part.name for part in parts[1:])])
    return Dataset(
        title,
        want,
        first.mapping,
        whole.train,
        whole.validation,
        problems,
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


class _Reading:
    """Reads the files of one dataset in turn into one record store."""

    def __init__(
        self,
        spec: DataSpec,
        want: Want,
        progress: Callable[[int], None] | None,
        store: RecordStore,
        labelled: bool,
        separator: str,
    ):
        self.want, self.progress, self.store, self.labelled = want, progress, store, labelled
        self.problems, self.parts, self.rows = Problems(), [], 0
        self.remedied: dict[str, int] = {}
        self.change = changes(spec.remedies)
        self.language = spec.remedies.get("language")
        self.mixed = "apart" in spec.remedies
        self.merged = False
        self.apply = partial(
            apply,
            want=want,
            rewrite=self._merge if spec.remedies.get("order") == "merge" else None,
            separator=separator,
        )

    def part(
        self,
        place: Path | str,
        mapping: Mapping | None,
        weight: float,
        encoding: str | None,
        limit: int | None,
        like: Mapping | None = None,
    ) -> Part:
        """Open and read one file. like: given for the validation file only, the mapping of the training data."""
        source, validation = open_source(place, encoding=encoding), like is not None
        evidence = list(source.evidence)
        if mapping is None:
            proposal = propose_same_mapping(source, like, self.want) if like else propose(source, self.want)
            mapping, evidence = proposal.mapping, [*evidence, *proposal.evidence]
        check_mapping(mapping, source.columns, self.want, source.name)
        made = Part(source, source.name, mapping, weight, Counts(), source.columns, evidence)
        self._read(made, limit, source.name if validation or self.labelled else "", validation)
        self.parts.append(made)
        return made

    def _read(self, part: Part, limit: int | None, file: str, validation: bool) -> None:
        """Append the usable rows to the store, and a problem for each other row to `problems`.

        limit: maximum number of usable training rows; rows marked as validation (`Row.apart`) do not count.
        """
        source, own, seen, used, skipped, labelled = part.source, Problems(), 0, 0, 0, 0
        number, rows, unused = (
            len(self.parts),
            source.rows(),
            Unused(frozenset(columns_of(part.mapping)), source.columns),
        )
        for row in rows:
            if labelled == limit and not row.apart:
                continue
            seen += 1
            if len(part.preview) < PREVIEW_ROWS:
                part.preview.append(row)
            unused.look(row)
            label = row.file or file
            self.merged = False
            try:
                record = self.apply(part.mapping, row, name=source.name, unit=source.unit)
                record = self._changed(record)
                if self.language and language_of("\n".join(texts(record))) not in (self.language, ""):
                    skipped += 1
                    continue
                apart = validation or (row.apart and not self.mixed)
                self.store.add(row.number, record, label, number, label_of(part.mapping.shape, record), apart)
            except RowProblem as problem:
                own.add(Problem(row.number, problem.sentence, problem.kind, file=row.file or file))
            except UnicodeEncodeError:
                sentence = Sentence(
                    "{place} holds half a character (a lone surrogate). Correct that text or remove the row.",
                    place=place(row.file or source.name, row.number, source.unit),
                )
                own.add(Problem(row.number, sentence, "bytes", file=row.file or file))
            else:
                used, labelled = used + 1, labelled + (not row.apart)
                if self.merged:
                    self.remedied["order"] = self.remedied.get("order", 0) + 1
                if row.apart and self.mixed and not validation:
                    self.remedied["apart"] = self.remedied.get("apart", 0) + 1
                if labelled == limit and not source.parted:  # with splits in the source, validation rows may follow
                    break
            if self.progress and seen % _TELL_EVERY == 0:
                self.progress(self.rows + seen)
        rows.close()
        part.columns, part.unused, part.has_substance, part.media = (
            unused.columns,
            unused.names,
            unused.has_substance,
            unused.media,
        )
        own.merge(source.problems, file)
        part.counts = Counts(
            seen + source.problems.rows, used, dict(own.errors) | ({"language": skipped} if skipped else {})
        )
        self.rows += part.counts.rows
        if self.progress:
            self.progress(self.rows)
        if not used:
            raise _nothing_usable(source, part.counts, own, self.remedied)
        if skipped:
            self.remedied["language"] = self.remedied.get("language", 0) + skipped
        self.problems.merge(own)

    def _merge(self, turns: list[dict]) -> list[dict]:
        """Apply the remedy "merge" to a conversation, and note in `self.merged` whether it changed anything."""
        made = merged(turns)
        self.merged = self.merged or made != turns
        return made

    def _changed(self, record: dict) -> dict:
        """Apply the text-changing remedies to a record, and count for each remedy the records that it changed."""
        for kind, change in self.change.items():
            made = rewritten(record, change)
            if made != record:
                self.remedied[kind] = self.remedied.get(kind, 0) + 1
                record = made
        return record


class NothingUsable(StudioError):
    """Raised when no row of a file can be used.

    problems: why the rows were rejected; counts: rows read, used and skipped; remedied: see `Dataset`.
    """

    def __init__(self, text: str | Sentence, /, **values):
        super().__init__(text, **values)
        self.problems, self.counts, self.remedied = Problems(), Counts(), {}


def _nothing_usable(source: Source, counts: Counts, problems: Problems, remedied: dict[str, int]) -> NothingUsable:
    if not problems.errors:
        error = NothingUsable(
            Sentence("No row of {name} is left to learn from. Undo a remedy, or raise a weight.", name=source.name)
        )
    else:
        kind, count = problems.errors.most_common(1)[0]
        first = min(
            (problem for problem in problems if problem.kind == kind and problem.level == "error"),
            key=lambda problem: problem.line,
        )
        error = NothingUsable(
            Sentence(
                "{rows:The only row|None of the {rows} rows} of {name} {rows:cannot|can} be used. "
                "The most common reason ({count} {count:row|rows}): {reason}",
                rows=counts.rows,
                name=source.name,
                count=count,
                reason=first.sentence,
            )
        )
    error.problems, error.counts, error.remedied = problems, counts, dict(remedied)
    return error

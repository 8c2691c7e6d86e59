"""Read the files of one dataset in turn: map their rows to records, and report the rows that cannot be used.

The records go to one store; what needs all of them (split, weights) is in `splitting.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from studio.data.data_spec import DataSpec
from studio.data.languages import language_of
from studio.data.mapping import Mapping, Want, apply, check_mapping, columns_of
from studio.data.read import open_source
from studio.data.records import RecordStore, label_of, texts
from studio.data.remedies import changes, merged, rewritten
from studio.data.rows import Counts, Problem, Problems, Row, RowProblem, place
from studio.data.shape import propose
from studio.data.similar_columns import propose_same_mapping
from studio.data.source import Source
from studio.data.turn_keys import UnreadKeys
from studio.data.unused_columns import Unused
from studio.words import Sentence, StudioError

PREVIEW_ROWS = 50
_TELL_EVERY = 5000


@dataclass
class Part:
    """One data file and how it was read.

    counts: rows read, used and skipped, where a row that its weight repeats is used once; drawn: training rows of this
    file in one epoch, repetitions included; unused: columns that are not read; has_substance: those of them that hold
    prose or media; media: those of them that hold images, audio or video; unread_keys: key of messages that is not read
    → messages that have something there.
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
    unread_keys: Counter[str] = field(default_factory=Counter)

    def __getstate__(self) -> dict:
        return {**vars(self), "source": None}


class Reading:
    """Reads files into `store`, one after the other, for a task that wants records of kind `want`.

    parts: the files that were read; problems, remedied: see `Dataset`; rows: number of rows read. progress, separator:
    see `dataset.load`. labelled: whether the records of training files store the file's name.
    """

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
        self.remedied: Counter[str] = Counter()
        self.change = changes(spec.remedies)
        self.language = spec.remedies.get("language")
        self.mixed = "own_validation" in spec.remedies
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

        limit: maximum number of usable training rows; rows marked as validation (`Row.is_validation`) do not count.
        """
        source, own, seen, used, training_rows = part.source, Problems(), 0, 0, 0
        unused, rows = Unused(frozenset(columns_of(part.mapping)), source.columns), source.rows()
        unread = UnreadKeys(weights_read=self.want == "messages")
        part.unread_keys = unread.counts
        for row in rows:
            if training_rows == limit and not row.is_validation:
                continue
            seen += 1
            if len(part.preview) < PREVIEW_ROWS:
                part.preview.append(row)
            unused.look(row)
            try:
                added = self._add(part, row, row.file or file, validation, unread)
            except RowProblem as problem:
                own.add(Problem(row.number, problem.sentence, problem.kind, file=row.file or file))
            else:
                used, training_rows = used + added, training_rows + (added and not row.is_validation)
                if training_rows == limit and not source.parted:  # else validation rows may follow
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
        skipped = seen - used - own.rows
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
            self.remedied["language"] += skipped
        self.problems.merge(own)

    def _add(self, part: Part, row: Row, file: str, validation: bool, unread: UnreadKeys) -> bool:
        """Append the record of `row` to the store; return False if it is in a language that a remedy leaves out.

        Raises RowProblem if the row cannot be used.
        """
        source = part.source
        self.merged = False
        try:
            made = self.apply(part.mapping, row, name=source.name, unit=source.unit, unread=unread)
            record = self._changed(made)
            if self.language and language_of("\n".join(texts(record))) not in (self.language, ""):
                return False
            is_validation = validation or (row.is_validation and not self.mixed)
            label = label_of(part.mapping.shape, record)
            self.store.add(row.number, record, file, len(self.parts), label, is_validation)
        except UnicodeEncodeError as error:
            raise RowProblem(
                "bytes",
                "{place} holds half a character (a lone surrogate). Correct that text or remove the row.",
                place=place(row.file or source.name, row.number, source.unit),
            ) from error
        if self.merged:
            self.remedied["order"] += 1
        if row.is_validation and self.mixed and not validation:
            self.remedied["own_validation"] += 1
        return True

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
                self.remedied[kind] += 1
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
            Sentence("No row of {name} is left to train on. Undo a remedy, or raise a weight.", name=source.name)
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

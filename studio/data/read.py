"""Opens a source of data, whatever its format, as columns and rows with line numbers.

    source = open_source("captain.jsonl")
    for row in source.rows(): ...
    source.problems          # what could not be read in that pass, by line

Rows in the file = rows yielded + rows reported. Reading streams; a second `rows()` starts again from the top. Knows
nothing about what columns mean.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from studio.data import hub
from studio.data.archive import check_archive, unpack
from studio.data.encoding import BAD, detect_encoding, looks_binary, open_text
from studio.data.formats import HEAD, binary_format, refuse, text_format
from studio.data.pictures import MAX_PICTURES, holds_pictures, read_pictures
from studio.data.readers_binary import read_arrow, read_parquet, read_xlsx
from studio.data.readers_table import read_table
from studio.data.readers_text import read_json, read_jsonl, read_text
from studio.data.rows import Problem, Problems, Row, place
from studio.data.sides import measured
from studio.words import Sentence, StudioError

MAX_UPLOAD_BYTES = 200 * 2**20
"""What the page takes as an upload. Local paths may be larger; they stream."""
_PEEK = 1000
_TABLE_FORMATS = {"json", "jsonl", "csv", "tsv", "parquet", "arrow", "feather", "xlsx"}
_UNITS = {"jsonl": "line", "csv": "line", "tsv": "line", "text": "line", "markdown": "line", "xlsx": "sheet row"}


class Source:
    """One opened source of rows.

    path: the file (None for the hub); name: what sentences call it; format: a key of `formats.TITLES`; encoding: a
    codec name, None for binary formats; unit: what `Row.number` counts (line, record or sheet row); columns: names in the order
    of the file, from its header or its first rows; problems: what the latest pass of `rows()` reported; parted: some of its rows are
    there to be measured on (`Row.apart`).
    """

    def __init__(
        self, path: Path | None, name: str, format: str, reader: Callable[[Source], Iterator[Row]],
        encoding: str | None = None, origin: str = "",
    ):
        self.path, self.name, self.format, self.encoding = path, name, format, encoding
        self.unit = _UNITS.get(format, "record")
        self.origin = origin or str(path)
        self.columns: list[str] = []
        self.layout: list[str] = []
        self.parted = False
        self.problems = Problems()
        self._reader = reader

    def rows(self) -> Iterator[Row]:
        """Every readable row. Raises StudioError where the file as a whole cannot be read on."""
        self.problems = Problems()
        try:
            yield from self._reader(self)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def report(self, number: int, kind: str, text: str, **values) -> None:
        """Records that the row at `number` cannot be read; `text` opens with {place}."""
        sentence = Sentence(text, place=place(self.name, number, self.unit), **values)
        self.problems.add(Problem(number, sentence, kind))

    def report_bytes(self, number: int) -> None:
        self.report(
            number, "bytes", "{place} holds bytes that are not {encoding} text. Save the file as UTF-8, or mend that place.",
            encoding=self.encoding,
        )

    def warn(self, number: int, kind: str, text: str, **values) -> None:
        """Records something about the source that costs no row."""
        self.problems.add(Problem(number, Sentence(text, **values), kind, level="warning"))

    def _peek(self) -> Source:
        """Fills `columns` from the first rows; raises StudioError if there is no row to be read."""
        first = list(itertools.islice(self.rows(), _PEEK))
        names = dict.fromkeys(self.layout)
        for row in first:
            names.update(dict.fromkeys(row.values))
        self.columns = list(names)
        if first:
            return self
        problem = next((problem for problem in self.problems if problem.level == "error"), None)
        if problem is None:
            raise StudioError("{name} holds no rows. Put at least one example in it, or choose another file.", name=self.name)
        raise StudioError(
            "{count:The only row|None of the {count} rows} of {name} {count:cannot|can} be read. The first: {reason}", count=self.problems.rows, name=self.name,
            reason=problem.sentence,
        )


class ArchiveSource(Source):
    """The data files of a zip, one after the other; each row carries the name of its file."""

    def __init__(self, path: Path, name: str, parts: list[Source], left: list[Sentence], folder: tempfile.TemporaryDirectory):
        super().__init__(path, name, "zip", ArchiveSource._all)
        self.parts, self._left, self._folder = parts, left, folder
        self._apart = measured(part.name.removeprefix(f"{name}/") for part in parts)
        self.parted = bool(self._apart)
        self.layout = list(dict.fromkeys(column for part in parts for column in part.columns))
        if len(parts) == 1:
            self.unit, self.encoding = parts[0].unit, parts[0].encoding

    def _all(self) -> Iterator[Row]:
        for sentence in self._left:
            self.problems.add(Problem(1, sentence, "left_aside", level="warning"))
        for part in self.parts:
            label = part.name if len(self.parts) > 1 else ""
            try:
                apart = part.name.removeprefix(f"{self.name}/") in self._apart
                for row in part.rows():
                    yield Row(row.number, row.values, label, apart)
            finally:
                self.problems.merge(part.problems, label)


def open_source(source: str | Path, name: str | None = None, encoding: str | None = None) -> Source:
    """Opens a local file or a hub id ("hub:owner/name"). Example names are turned into paths by `resolve`.

    name: what sentences call it, the file's own name if not given. encoding: a codec to use in place of the
    recognised one. Raises StudioError, one sentence, for whatever cannot be read.
    """
    if isinstance(source, str) and source.startswith(hub.PREFIX):
        parsed = hub.parse(source)
        return Source(None, parsed.name, "hub", hub.read_hub, origin=source)._peek()
    path = Path(source)
    try:
        return _open(path, name or path.name, encoding)._peek()
    except OSError as error:
        raise unreadable(name or str(source), error) from error


def _open(path: Path, name: str, encoding: str | None = None, nested: bool = False) -> Source:
    if path.is_dir():
        if holds_pictures(path):
            return Source(path, name, "pictures", read_pictures)
        raise StudioError("{name} is a folder. Choose a file in it, or zip it.", name=name)
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head.strip():
        raise StudioError("{name} is empty. Put at least one example in it, or choose another file.", name=name)
    found = binary_format(path, head, name)
    if found == "zip":
        if not nested and holds_pictures(path):
            check_archive(path, name, MAX_PICTURES)
            return Source(path, name, "pictures", read_pictures)
        if nested:
            raise StudioError("{name} is a zip inside a zip. Unpack it and zip its files directly.", name=name)
        return _open_archive(path, name, encoding)
    if found == "xlsx":
        check_archive(path, name)
        return Source(path, name, "xlsx", read_xlsx)
    if found:
        return Source(path, name, found, read_parquet if found == "parquet" else read_arrow)
    if looks_binary(head):
        raise refuse(name, "neither text nor a known table format")
    return _open_text(path, name, encoding)


def _open_text(path: Path, name: str, encoding: str | None) -> Source:
    encoding = encoding or detect_encoding(path, name)
    try:
        with open_text(path, encoding) as file:
            head = file.read(HEAD)
            complete = not file.read(1)
    except LookupError as error:
        raise StudioError("'{encoding}' is no known encoding. Leave it empty, or write for example utf-8 or gb18030.", encoding=encoding) from error
    if not head.strip():
        raise StudioError("{name} is empty. Put at least one example in it, or choose another file.", name=name)
    if head.count(BAD) > 0.3 * len(head):
        raise StudioError("{name} is not {encoding} text. Choose another encoding, or save the file as UTF-8.", name=name, encoding=encoding)
    format, dialect = text_format(head, complete, name)
    readers = {
        "json": read_json, "jsonl": read_jsonl, "csv": partial(read_table, dialect=dialect), "tsv": partial(read_table, dialect=dialect),
        "text": read_text, "markdown": read_text,
    }
    return Source(path, name, format, readers[format], encoding=encoding)


def _open_archive(path: Path, name: str, encoding: str | None) -> Source:
    folder, copies = unpack(path, name)
    parts: list[Source] = []
    others: list[tuple[str, StudioError | None]] = []
    for inside, copy in copies:
        try:
            part = _open(copy, f"{name}/{inside}", encoding, nested=True)
        except StudioError as error:
            others.append((inside, error))
        else:
            parts.append(part)
    tables = [part for part in parts if part.format in _TABLE_FORMATS]
    if tables:  # a README beside the data is no data
        others += [(part.name.removeprefix(f"{name}/"), None) for part in parts if part not in tables]
        parts = tables
    try:
        if not parts:
            raise others[0][1] or StudioError("{name} holds no data file.", name=name)
        for part in parts:
            part._peek()
    except BaseException:
        folder.cleanup()
        raise
    return ArchiveSource(path, name, parts, [_left_aside(name, *other) for other in others], folder)


def _left_aside(name: str, inside: str, error: StudioError | None) -> Sentence:
    if error is None:
        return Sentence("{name} also holds '{left}', which is not read as data.", name=name, left=inside)
    return Sentence("{name} also holds '{left}', which is not read: {reason}", name=name, left=inside, reason=error.sentence)


def unreadable(name: str, error: OSError) -> StudioError:
    """The sentence for a file that the system does not give us."""
    if isinstance(error, FileNotFoundError):
        return StudioError("There is no file {name}. Check the path, or choose the file again.", name=name)
    if isinstance(error, PermissionError):
        return StudioError("The file {name} may not be read by this program. Change its permissions, or copy it.", name=name)
    return StudioError("{name} cannot be read ({detail}). Check the disk, or copy the file.", name=name, detail=error.strerror or str(error))


def fingerprint(path: str | Path) -> str:
    """Short text that stays the same for the same file: of its name, size and first megabyte. To remember mappings by."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(2**20)
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path.name, error) from error
    return hashlib.blake2b(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape") + head, digest_size=12).hexdigest()

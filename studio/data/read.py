"""Open a data source of any supported format as columns and rows with line numbers.

    source = open_source("captain.jsonl")
    for row in source.rows(): ...
    source.problems          # rows that could not be read in that pass, with their lines

Rows are streamed; each call of `rows()` reads from the start. Independent of the meaning of columns.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from studio.data import hub
from studio.data.archive import check_archive, unpack
from studio.data.encoding import BAD, detect_encoding, looks_binary, open_text
from studio.data.formats import HEAD, binary_format, refuse, text_format
from studio.data.pictures import MAX_PICTURES, holds_pictures, read_pictures
from studio.data.readers_binary import read_arrow, read_parquet, read_xlsx
from studio.data.readers_table import read_table
from studio.data.readers_text import read_json, read_jsonl, read_text
from studio.data.rows import Problem, Row
from studio.data.saved import DESCRIPTIONS, Saved, read_numbered, saved_splits
from studio.data.source import Source, unreadable
from studio.data.split_names import measured
from studio.words import Sentence, StudioError

MAX_UPLOAD_BYTES = 200 * 2**20
"""Maximum size of an upload on the page. Local paths may be larger, as they are streamed."""
_TABLE_FORMATS = {"json", "jsonl", "csv", "tsv", "parquet", "arrow", "feather", "xlsx"}


class ArchiveSource(Source):
    """The data files of a zip, read in sequence; each row has the name of its file."""

    def __init__(
        self, path: Path, name: str, parts: list[Source], left: list[Sentence], folder: tempfile.TemporaryDirectory
    ):
        super().__init__(path, name, "zip", ArchiveSource._all)
        self.parts, self._left, self._folder = parts, left, folder
        self._validation_members = measured(part.name.removeprefix(f"{name}/") for part in parts)
        self.parted = bool(self._validation_members) or any(part.parted for part in parts)
        self.layout = list(dict.fromkeys(column for part in parts for column in part.columns))
        if len(parts) == 1:
            self.unit, self.encoding = parts[0].unit, parts[0].encoding

    def _all(self) -> Iterator[Row]:
        for sentence in self._left:
            self.problems.add(Problem(1, sentence, "left_aside", level="warning"))
        for part in self.parts:
            label = part.name if len(self.parts) > 1 else ""
            try:
                is_validation = part.name.removeprefix(f"{self.name}/") in self._validation_members
                for row in part.rows():
                    yield Row(row.number, row.values, label, is_validation or row.is_validation)
            finally:
                self.problems.merge(part.problems, label)
                self.evidence += part.evidence


def open_source(source: str | Path, name: str | None = None, encoding: str | None = None) -> Source:
    """Open a local file or a dataset on the hub ("hub:owner/name"). Names of examples are resolved in `resolve`.

    name: how messages refer to the source, by default the file name; encoding: codec that replaces the detected one.
    Raises StudioError if the source cannot be read.
    """
    if isinstance(source, str) and source.startswith(hub.PREFIX):
        parsed = hub.parse(source)
        return Source(None, parsed.name, "hub", hub.read_hub, origin=source).peek()
    path = Path(source)
    try:
        return _open(path, name or path.name, encoding).peek()
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
        raise StudioError(
            "'{encoding}' is no known encoding. Leave it empty, or write for example utf-8 or gb18030.",
            encoding=encoding,
        ) from error
    if not head.strip():
        raise StudioError("{name} is empty. Put at least one example in it, or choose another file.", name=name)
    if head.count(BAD) > 0.3 * len(head):
        raise StudioError(
            "{name} is not {encoding} text. Choose another encoding, or save the file as UTF-8.",
            name=name,
            encoding=encoding,
        )
    format, dialect = text_format(head, complete, name)
    readers = {
        "json": read_json,
        "jsonl": read_jsonl,
        "csv": partial(read_table, dialect=dialect),
        "tsv": partial(read_table, dialect=dialect),
        "text": read_text,
        "markdown": read_text,
    }
    return Source(path, name, format, readers[format], encoding=encoding)


def _open_archive(path: Path, name: str, encoding: str | None) -> Source:
    folder, copies = unpack(path, name)
    files = dict(copies)
    splits, described = saved_splits(files)
    parts: list[Source] = [_numbered(name, split, files) for split in splits if split.numbers]
    others: list[tuple[str, StudioError | None]] = []
    for inside in _unnamed(splits, files):
        others.append((inside, None))
        described.add(inside)
    described |= {inside for split in splits if split.numbers for inside in (*split.files, *split.numbers)}
    for inside, copy in files.items():
        if inside in described:
            continue
        try:
            part = _open(copy, f"{name}/{inside}", encoding, nested=True)
        except StudioError as error:
            others.append((inside, error))
        else:
            parts.append(part)
    tables = [part for part in parts if part.format in _TABLE_FORMATS]
    tables = [part for part in tables if Path(part.name).name not in DESCRIPTIONS] or tables
    if tables:  # text files next to tables, such as a README, are not data
        others += [(part.name.removeprefix(f"{name}/"), None) for part in parts if part not in tables]
        parts = tables
    try:
        if not parts:
            raise others[0][1] or StudioError("{name} holds no data file.", name=name)
        for part in parts:
            part.peek()
    except BaseException:
        folder.cleanup()
        raise
    return ArchiveSource(path, name, parts, [_left_aside(name, *other) for other in others], folder)


def _numbered(name: str, split: Saved, files: dict[str, Path]) -> Source:
    """A saved split of which only the rows in its indices files count."""
    data, numbers = ([files[inside] for inside in names] for names in (split.files, split.numbers))
    label = f"{name}/{split.folder}" if split.folder != "." else f"{name}/{split.files[0]}"
    return Source(data[0], label, "arrow", partial(read_numbered, files=data, numbers=numbers))


def _unnamed(splits: list[Saved], files: dict[str, Path]) -> list[str]:
    """Arrow files next to a split that do not belong to it, such as cache files of `datasets`."""
    own = {inside for split in splits for inside in (*split.files, *split.numbers)}
    folders = {split.folder for split in splits}
    arrow = (inside for inside in files if inside.endswith(".arrow") and inside not in own)
    return [inside for inside in arrow if str(PurePosixPath(inside).parent) in folders]


def _left_aside(name: str, inside: str, error: StudioError | None) -> Sentence:
    if error is None:
        return Sentence("{name} also holds '{left}', which is not read as data.", name=name, left=inside)
    return Sentence(
        "{name} also holds '{left}', which is not read: {reason}", name=name, left=inside, reason=error.sentence
    )


def fingerprint(path: str | Path) -> str:
    """Hash of a file's name, size and first MiB, by which its mapping is remembered. Raises StudioError."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(2**20)
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path.name, error) from error
    return hashlib.blake2b(
        f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape") + head, digest_size=12
    ).hexdigest()

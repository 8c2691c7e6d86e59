"""Detect the format of a file from its first bytes; the file name decides only where the content fits two formats.

Rows are read by the `readers_*` modules.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from studio.data.speakers import is_turn, to_turns
from studio.words import Sentence, StudioError

HEAD = 256 * 1024
TITLES = {
    "json": "JSON",
    "jsonl": "JSON Lines",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "feather": "Feather",
    "xlsx": "Excel (XLSX)",
    "text": "plain text",
    "markdown": "Markdown",
    "zip": "zip",
    "pictures": "Pictures in folders by class",
    "hub": "Hugging Face Hub",
}
"""Format → name shown to the user."""

_READ = Sentence(
    "Read are JSON, JSONL, CSV, TSV, Parquet, Arrow, XLSX, plain text, Markdown, a zip of these, and a zip or folder "
    "of pictures by class."
)
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (XLS or DOC)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)
_JSON_NAMES = {".json", ".jsonl", ".ndjson"}
_TABLE_NAMES = {".csv", ".tsv", ".tab", ".psv"}
_TEXT_NAMES = {".txt", ".text", ".md", ".markdown"}
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")
"""Excel's optional first line of a CSV file, such as "sep=;", which names the delimiter."""
_MARKDOWN = re.compile(r"^(#{1,6} \S|```|\[[^\]]+\]\(|[-*] \[[ x]\])", re.MULTILINE)


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quoting and escaping of a CSV-like table."""

    delimiter: str
    quoting: int = csv.QUOTE_MINIMAL
    escape: str | None = None
    skip_space: bool = False

    def keywords(self) -> dict:
        """Keyword arguments for `csv.reader`; strict, so that malformed quoting raises csv.Error."""
        return {
            "delimiter": self.delimiter,
            "quoting": self.quoting,
            "escapechar": self.escape,
            "doublequote": self.escape is None,
            "skipinitialspace": self.skip_space,
            "strict": True,
        }


def refuse(name: str, what: str | Sentence) -> StudioError:
    """The StudioError for a file of a recognised but unsupported kind; `what` is that kind, with its article."""
    kind = Sentence(what) if isinstance(what, str) else what
    return StudioError("{name} is {what}, which cannot be read as data. {read}", name=name, what=kind, read=_READ)


def binary_format(path: Path, head: bytes, name: str) -> str | None:
    """zip, xlsx, parquet, arrow or feather; None if it may be text. Raises StudioError for unsupported formats."""
    if head.startswith(b"PK\x05\x06"):
        raise StudioError("{name} is an empty zip. Put at least one data file in it.", name=name)
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path, name)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if head.startswith(b"FEA1"):
        return "feather"
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise refuse(name, what)
    return None


def _zip_format(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception as error:  # zipfile raises many exception types on damaged bytes; the remedy is the same
        raise StudioError("{name} is a damaged zip and cannot be opened. Make it again.", name=name) from error
    if any(member.startswith("xl/workbook") for member in members):
        return "xlsx"
    if any(member.startswith("word/document") for member in members):
        raise refuse(name, "a Word document")
    if "mimetype" in members and "content.xml" in members:
        raise refuse(name, "an OpenDocument file")
    return "zip"


def text_format(head: str, complete: bool, name: str) -> tuple[str, Dialect | None]:
    """(format, dialect if it is a table) of a text. head: its first characters; complete: whether these are all."""
    suffix = Path(name).suffix.lower()
    lines = [line for line in re.split(r"\r\n|\r|\n", head) if line.strip()]
    if not complete and len(lines) > 1:
        lines.pop()
    found = "json" if _spread_out(head) else _json_format(lines[:100], complete and len(lines) <= 100, suffix)
    if found:
        return found, None
    dialect = _sniff(head, complete, suffix)
    if dialect:
        return ("tsv" if dialect.delimiter == "\t" else "csv"), dialect
    markdown = suffix in {".md", ".markdown"} or len(_MARKDOWN.findall(head)) >= 2
    return ("markdown" if markdown else "text"), None


def _spread_out(head: str) -> bool:
    """Whether the text begins with a JSON object that spans several lines, whatever follows it."""
    text = head.lstrip()
    if not text.startswith("{"):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text.splitlines()[0].rstrip() == "{"  # the object is longer than `head`, or malformed further on
    return "\n" in text[:end]


def _json_format(lines: list[str], all_lines: bool, suffix: str) -> str | None:
    first = lines[0].lstrip()
    objects = sum(_is_object(line) for line in lines)
    if len(lines) > 1 and objects >= 0.5 * len(lines):
        return "jsonl"
    if first.startswith("{"):
        if len(lines) == 1 and all_lines and _is_object(first):
            return "json" if suffix not in {".jsonl", ".ndjson"} else "jsonl"
        if suffix in {".jsonl", ".ndjson"} or all(line.startswith("{") for line in lines[1:] or lines):
            return "jsonl" if len(lines) > 1 or suffix in {".jsonl", ".ndjson"} else "json"
        return "json"
    if re.match(r"\[\s*[{\[\]\"]", "\n".join(lines[:2]).lstrip()):
        if len(lines) > 1 and sum(map(_is_turn_list, lines)) >= 0.5 * len(lines):
            return "jsonl"
        return "json" if suffix not in _TEXT_NAMES | _TABLE_NAMES or first[:2] == "[{" else None
    if suffix == ".json":
        return "json"
    return "jsonl" if suffix in _JSON_NAMES else None


def _is_object(line: str) -> bool:
    if not line.startswith("{") or not line.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_turn_list(line: str) -> bool:
    """Whether a line is one conversation: a JSON list of objects that name a speaker."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, list) and bool(found) and is_turn(to_turns(found)[0])


def _sniff(head: str, complete: bool, suffix: str) -> Dialect | None:
    """The dialect with which most records have as many fields as the first one; None for text that is no table."""
    told = SEPARATOR_LINE.match(head)
    if told:
        return Dialect(told[1])
    known = suffix in _TABLE_NAMES
    need = 0.5 if known else 0.9
    best: tuple[float, int, Dialect] | None = None
    for delimiter in ",\t;|^~\x1f\x01" + ("" if suffix in _TEXT_NAMES else ":"):
        for quoting, escape in ((csv.QUOTE_MINIMAL, None), (csv.QUOTE_MINIMAL, "\\"), (csv.QUOTE_NONE, None)):
            if quoting == csv.QUOTE_NONE and delimiter != "\t":
                continue
            dialect = Dialect(delimiter, quoting, escape)
            share, width, first, records = _trial(head, complete, dialect)
            if width < 2 or share < need or (not known and not _is_header(first, records, suffix)):
                continue
            if best is None or (share, width) > best[:2]:
                spaced = all(cell.startswith(" ") for cell in first[1:])
                best = share, width, Dialect(delimiter, quoting, escape, spaced)
    if best:
        return best[2]
    return Dialect("\t" if suffix in {".tsv", ".tab"} else ",") if known else None


def _trial(head: str, complete: bool, dialect: Dialect) -> tuple[float, int, list[str], int]:
    """(share of records with as many fields as the first one, that number of fields, first record, records)."""
    reader = csv.reader(io.StringIO(head, newline=""), **dialect.keywords())
    records: list[list[str]] = []
    errors = 0
    while len(records) + errors < 100:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error:
            errors += 1
            if not records or not complete:
                break
            continue
        if record and any(cell.strip() for cell in record):
            records.append(record)
    if not complete and len(records) > 1 and len(records) + errors < 100:
        records.pop()
    if not records:
        return 0.0, 0, [], 0
    width = len(records[0])
    return sum(len(record) == width for record in records) / (len(records) + errors), width, records[0], len(records)


def _is_header(cells: list[str], records: int, suffix: str) -> bool:
    """Whether `cells` look like a header: short, distinct, non-empty names without sentence punctuation."""
    least = 3 if suffix in _TEXT_NAMES else 2
    names = [cell.strip() for cell in cells]
    return (
        records >= least
        and len(set(names)) == len(names)
        and all(0 < len(name) <= 64 and not re.search(r"[.!?。！？\n]\s*$|[.!?] ", name) for name in names)
        and not (suffix in _TEXT_NAMES and any(cell.startswith(" ") for cell in cells[1:]))
    )

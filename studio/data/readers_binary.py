"""Readers for Parquet, Arrow/Feather and XLSX, which yield rows of plain Python values, read in batches.

The exceptions that the libraries raise on damaged files are converted to a StudioError.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.data.calls import ARGUMENTS, SCHEMA, without_fill
from studio.data.pictures import place_of
from studio.data.readers_table import header, without_missing
from studio.data.rows import Row
from studio.data.source import Source
from studio.words import Sentence, StudioError

_BATCH = 1000
_PICTURES = 50  # batch size of rows with images
_ERRORS = {"#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"}  # read as missing
_AHEAD = 20  # rows searched for the header of a sheet


@contextmanager
def damaged(source: Source) -> Iterator[None]:
    """Convert any exception of a parsing library to a StudioError that the file is damaged."""
    try:
        yield
    except (StudioError, GeneratorExit):
        raise
    except Exception as error:  # pyarrow, openpyxl, zipfile and XML parsers raise many types
        detail = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise StudioError(
            "{name} is damaged and cannot be read ({detail}). Save it again from the program that made it, or as "
            "JSONL or CSV.",
            name=source.name,
            detail=detail,
        ) from error


def plain(value: Any) -> Any:
    """Convert dates, decimals and tuples to JSON types and NaN to None; bytes (images) are kept."""
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    return value if isinstance(value, bytes) else str(value)


def read_parquet(source: Source) -> Iterator[Row]:
    """Rows of a Parquet file, numbered from 1. Cells with image bytes are replaced by the location of the image."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with damaged(source), parquet.ParquetFile(source.path) as file:
        source.layout = list(file.schema_arrow.names)
        pictured = [
            field.name
            for field in file.schema_arrow
            if pa.types.is_struct(field.type) and {part.name for part in field.type} == {"bytes", "path"}
        ]
        rows = rows_of(source, file.iter_batches(batch_size=_PICTURES if pictured else _BATCH))
        yield from _with_places(source, rows, pictured) if pictured else rows


def _with_places(source: Source, rows: Iterator[Row], columns: list[str]) -> Iterator[Row]:
    """Replace the image cells in `columns` by image locations; a row whose image cannot be opened is reported."""
    where = str(source.path.resolve())
    for row in rows:
        try:
            for name in columns:
                data = (row.values[name] or {}).get("bytes")
                row.values[name] = place_of(data, where, f"{name}/{row.number}") if data else None
        except StudioError as error:
            source.report(
                row.number,
                "broken",
                "{place}, '{file}', cannot be opened: {reason} Replace it, or remove it.",
                file=name,
                reason=error.sentence,
            )
        else:
            yield row


def class_names(source: Source, schema: Any) -> dict[str, list[str]]:
    """Column → class names, for columns that hold class indices.

    The names come from the ClassLabel features that Hugging Face `datasets` stores in the schema metadata.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        found = {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, AttributeError):
        return {}
    for name, names in found.items():
        source.evidence.append(
            Sentence(
                "The file itself names the classes of column '{column}': {names}.",
                column=name,
                names=", ".join(map(str, names[:12])) + ("…" if len(names) > 12 else ""),
            )
        )
    return found


def filled_columns(schema: Any) -> set[str]:
    """The columns that hold tool calls or tool schemas as Arrow structs.

    A struct has the same fields in all rows, so arguments or parameters that one of them does not have are null.
    """
    return {field.name for field in schema if _fills(field.type)}


def _fills(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        parts = [kind.field(index) for index in range(kind.num_fields)]
        named = (part for part in parts if part.name in ARGUMENTS + SCHEMA)
        return any(pa.types.is_struct(part.type) for part in named) or any(_fills(part.type) for part in parts)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and _fills(kind.value_type)


def _named(value: Any, names: list[str]) -> Any:
    """The name of a class index, None if the index is out of range; other values are unchanged."""
    return value if not isinstance(value, int) else names[value] if 0 <= value < len(names) else None


def read_arrow(source: Source) -> Iterator[Row]:
    """Rows of an Arrow file (IPC file or stream, Feather), numbered from 1."""
    import pyarrow as pa
    import pyarrow.ipc as ipc

    if source.format == "feather":
        import pyarrow.feather as feather

        with damaged(source):
            table = feather.read_table(source.path)
            yield from rows_of(source, iter(table.to_batches(max_chunksize=_BATCH)))
        return
    with damaged(source), pa.memory_map(str(source.path)) as file:
        try:
            reader = ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            file.seek(0)
            reader = ipc.open_stream(file)
            batches = iter(reader)
        source.layout = list(reader.schema.names)
        parts = (batch.slice(at, _BATCH) for batch in batches for at in range(0, batch.num_rows, _BATCH))
        yield from rows_of(source, parts)


def rows_of(source: Source, batches: Iterator) -> Iterator[Row]:
    """Rows of record batches, numbered from 1, with class indices replaced by class names."""
    number, classes, filled = 0, None, set()
    for batch in batches:
        batch.validate(full=True)
        classes = class_names(source, batch.schema) if classes is None else classes
        names = list(batch.schema.names)
        filled = filled or filled_columns(batch.schema)
        columns = [batch.column(index) for index in range(len(names))]
        for at in range(batch.num_rows):
            number += 1
            values = {name: plain(column[at].as_py()) for name, column in zip(names, columns, strict=True)}
            for name in filled:
                values[name] = without_fill(values[name])
            yield Row(
                number,
                values | {name: _named(values.get(name), known) for name, known in classes.items() if name in values}
                if classes
                else values,
            )


def read_xlsx(source: Source) -> Iterator[Row]:
    """Rows of the first non-empty sheet, numbered as in the sheet; other non-empty sheets are reported as not read."""
    import openpyxl

    with damaged(source):
        book = openpyxl.load_workbook(source.path, read_only=True, data_only=True)
        try:
            used = ""
            for sheet in book.worksheets:
                sheet.reset_dimensions()
                if used:
                    if any(_filled(cells) for cells in sheet.iter_rows(values_only=True)):
                        source.warn(
                            1,
                            "left_aside",
                            "{name} has several sheets; '{used}' is read, '{left}' is not. "
                            "Save that sheet as a file of its own to use it.",
                            name=source.name,
                            used=used,
                            left=sheet.title,
                        )
                    continue
                for row in _sheet_rows(source, sheet):
                    used = sheet.title
                    yield row
                used = used or (sheet.title if source.problems.rows else "")
        finally:
            book.close()


def _filled(cells: tuple) -> bool:
    return any(cell is not None and str(cell).strip() for cell in cells)


def _titles(rows: list[list]) -> int:
    """Number of single-cell rows (title, date, note) above the header; 0 if no header is found."""
    widths = [sum(value not in (None, "") for value in values) for values in rows]
    at = next((at for at, width in enumerate(widths) if width > 1), 0)
    below = widths[at + 1 :]
    names = [value for value in rows[at] if value not in (None, "")] if at else []
    headed = all(isinstance(name, str) for name in names) and header(names)[1] if names else False
    return at if headed and below and 2 * sum(width > 1 for width in below) > len(below) else 0


def _sheet_rows(source: Source, sheet: Any) -> Iterator[Row]:
    columns: list[str] = []
    filled = (
        (number, [plain(cell) for cell in cells])
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1)
        if _filled(cells)
    )
    first = list(itertools.islice(filled, _AHEAD))
    above = _titles([values for _, values in first])
    if above:
        title = next(str(value) for value in first[0][1] if value not in (None, ""))
        source.evidence.append(
            Sentence(
                "The first {count} {count:row|rows} of sheet '{sheet}' ('{title}') {count:is a title|are titles} "
                "above the header, and no data.",
                count=above,
                sheet=sheet.title,
                title=title[:60],
            )
        )
    for number, values in itertools.chain(first[above:], filled):
        if not columns:
            while values and values[-1] is None:
                values.pop()
            columns, headed = header(["" if value is None else str(value) for value in values])
            source.layout = columns
            if headed:
                continue
            source.warn(
                number,
                "header",
                "{name} seems to have no header row, so its columns are numbered. "
                "If the first line is a header, give each column a short name of its own.",
                name=source.name,
            )
        while len(values) > len(columns) and values[-1] in (None, ""):
            values.pop()
        if len(values) > len(columns):
            source.report(
                number,
                "fields",
                "{place} has {count} {count:cell|cells}, but the header names {expected} {expected:column|columns}. "
                "Name the column or empty the cell.",
                count=len(values),
                expected=len(columns),
            )
            continue
        values += [None] * (len(columns) - len(values))
        values = [None if isinstance(value, str) and value in _ERRORS else value for value in values]
        values = without_missing(source, values)
        yield Row(number, dict(zip(columns, values, strict=True)))

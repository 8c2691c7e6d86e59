"""Pictures sorted into folders by class, in a zip or a folder, or in the cells of a Parquet file → one row each: where the picture is, and its class.

A picture's place is text ("picture:DIGEST:/data/leaves.zip!spotted/7.png"), so that rows stay small; `open_picture` opens it again.
Each one is decoded once while reading, so that a broken one is a sentence with its name and not a run that fails. Knows nothing about
models.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from studio.data.archive import ignored
from studio.data.rows import Row
from studio.data.source import Source
from studio.data.split_names import by_folder
from studio.words import StudioError

if TYPE_CHECKING:
    from PIL.Image import Image


PREFIX = "picture:"
MAX_PICTURES = 100_000
_DEPTH = 3  # folders inside the one that was named: data/train/class/picture, and no walk through a whole disk
_INSIDE = "!"
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_LARGEST = 50 * 2**20  # bytes of one picture


def holds_pictures(path: Path) -> bool:
    """Whether most of the files in a zip or a folder are called like pictures."""
    names = _members(path)
    return bool(names) and 2 * sum(PurePosixPath(name).suffix.lower() in _ENDINGS for name in names) > len(names)


def _members(path: Path) -> list[str]:
    """Names of the files in a folder (with its subfolders, unreadable ones left out) or a zip, in order; a little over the limit where there are more."""
    if path.is_dir():
        found = []
        for folder, inside, files in os.walk(path):
            deep = PurePosixPath(folder).relative_to(path)
            found += [(deep / name).as_posix() for name in files if not os.path.islink(os.path.join(folder, name))]
            if len(deep.parts) >= _DEPTH:
                inside.clear()
            if len(found) > MAX_PICTURES:
                break
    else:
        with zipfile.ZipFile(path) as archive:
            found = [
                item.filename for item in archive.infolist() if not item.filename.endswith("/")
            ]  # is_dir() stumbles over an empty name
    return sorted(name for name in found if not ignored(name))


def read_pictures(source: Source) -> Iterator[Row]:
    """A row for each picture that can be opened: {"image": its place, "label": the folder that it lies in}; train/class/… and
    test/class/… are two sides."""
    names = _members(source.path)
    if len(names) > MAX_PICTURES:
        raise StudioError(
            "{name} holds {count} files; at most {limit} pictures are read. Choose a part of them.",
            name=source.name,
            count=len(names),
            limit=MAX_PICTURES,
        )
    place, sides = str(source.path.resolve()), by_folder(names)
    source.parted = any(apart for apart, _ in sides.values())
    for number, name in enumerate(names, 1):
        path = PurePosixPath(name)
        if path.suffix.lower() not in _ENDINGS:
            source.warn(
                number,
                "left_aside",
                "{name} also holds '{left}', which is not read as data.",
                name=source.name,
                left=name,
            )
            continue
        apart, classed = sides.get(name, (False, bool(path.parent.name)))
        if not classed:
            source.report(
                number,
                "missing",
                "{place}, '{file}', lies in no folder, so it has no class. Put it into a folder with the name of its class.",
                file=name,
            )
            continue
        try:
            image = place_of(_bytes(place, name), place, name)
        except StudioError as error:
            source.report(
                number,
                "broken",
                "{place}, '{file}', cannot be opened: {reason} Replace it, or remove it.",
                file=name,
                reason=error.sentence,
            )
            continue
        yield Row(number, {"image": image, "label": path.parent.name}, apart=apart)


def place_of(data: bytes, where: str, name: str) -> str:
    """The place of the picture `data` that lies as `name` in the folder, zip or Parquet file `where`. Raises StudioError where it cannot be opened."""
    decode(data)
    return f"{PREFIX}{hashlib.blake2b(data, digest_size=8).hexdigest()}:{where}{_INSIDE}{name}"


def open_picture(place: str) -> Image:
    """The picture at a row's place, in RGB. Raises StudioError where it is gone or broken by now."""
    where, _, name = place.removeprefix(PREFIX).partition(":")[2].rpartition(_INSIDE)
    try:
        return decode(_bytes(where, name))
    except StudioError as error:
        raise StudioError(
            "The picture '{name}' cannot be opened: {reason} Put it back, or read the data again.",
            name=name,
            reason=error.sentence,
        ) from error


def title_of(place: str) -> str:
    """What a person calls the picture: its folder and file name."""
    return place.rpartition(_INSIDE)[2]


def digest_of(place: str) -> str:
    """Equal for pictures with equal bytes."""
    return place.removeprefix(PREFIX).partition(":")[0]


def decode(data: bytes) -> Image:
    """Bytes of a picture file → the picture in RGB, turned as its camera says. Raises StudioError with what is wrong."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except Image.DecompressionBombError as error:
        raise StudioError(
            "It has more than {count} million pixels.", count=round(2 * Image.MAX_IMAGE_PIXELS / 1e6)
        ) from error
    except (
        Exception
    ) as error:  # Pillow's decoders raise whatever they stumble over; all of it means the same to the person
        raise StudioError("It is no picture, or a damaged one.") from error


def _bytes(where: str, name: str) -> bytes:
    """The file `name` in the folder or zip `where`, or of a Parquet file the cell "column/row", rows from 1."""
    path = Path(where)
    try:
        if path.is_dir():
            if (path / name).stat().st_size > _LARGEST:
                raise StudioError("It is larger than {limit} MB.", limit=_LARGEST // 2**20)
            return (path / name).read_bytes()
        if not zipfile.is_zipfile(path):
            column, _, row = name.rpartition("/")
            return _cell(where, path.stat().st_mtime_ns, column, int(row) - 1)
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > _LARGEST:
                raise StudioError("It is larger than {limit} MB.", limit=_LARGEST // 2**20)
            return archive.read(name)
    except StudioError:
        raise
    except FileNotFoundError as error:
        raise StudioError("It is not there any more.") from error
    except Exception as error:  # zipfile raises a dozen kinds on damaged bytes
        raise StudioError("It is no picture, or a damaged one.") from error


def _cell(where: str, changed: int, column: str, row: int) -> bytes:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(where) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                return _cells(where, changed, column, group)[row]["bytes"].as_py()
            row -= rows
    raise StudioError("It is not there any more.")


@lru_cache(maxsize=2)  # a row group is the least that can be read, and neighbours are often asked for together
def _cells(where: str, changed: int, column: str, group: int):
    """The pictures of one row group. changed: when the file was, so that no old ones are given for a new file."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(where) as file:
        return file.read_row_group(group, columns=[column]).column(column)

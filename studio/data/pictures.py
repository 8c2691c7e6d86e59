"""Read image classification data: images in class folders (in a zip or a folder), or image cells of a Parquet file.

Each row has the location and the class of an image. A location is a text
("picture:DIGEST:/data/leaves.zip!spotted/7.png"), so rows stay small; `open_picture` loads the image. Each image is
decoded once while reading, so that a damaged file is reported with its name instead of failing during training.
Independent of models.
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
_DEPTH = 3  # levels of subfolders that are searched: enough for train/class/image, without walking a whole disk
_INSIDE = "!"
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_LARGEST = 50 * 2**20  # maximum size of one image file in bytes


def holds_pictures(path: Path) -> bool:
    """Whether most of the files in a zip or folder have the name extension of an image."""
    names = _members(path)
    return bool(names) and 2 * sum(PurePosixPath(name).suffix.lower() in _ENDINGS for name in names) > len(names)


def _members(path: Path) -> list[str]:
    """Sorted file names in a zip, or in a folder and its readable subfolders.

    For a folder with more than `MAX_PICTURES` files, the list is incomplete but longer than the limit.
    """
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
            # ZipInfo.is_dir() fails on an empty name.
            found = [item.filename for item in archive.infolist() if not item.filename.endswith("/")]
    return sorted(name for name in found if not ignored(name))


def read_pictures(source: Source) -> Iterator[Row]:
    """Yield {"image": location, "label": name of the parent folder} for each image that can be opened.

    With train/class/… and test/class/…, the images of the test folder become validation rows.
    """
    names = _members(source.path)
    if len(names) > MAX_PICTURES:
        raise StudioError(
            "{name} holds {count} files; at most {limit} pictures are read. Choose a part of them.",
            name=source.name,
            count=len(names),
            limit=MAX_PICTURES,
        )
    place, sides = str(source.path.resolve()), by_folder(names)
    source.parted = any(is_validation for is_validation, _ in sides.values())
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
        is_validation, classed = sides.get(name, (False, bool(path.parent.name)))
        if not classed:
            source.report(
                number,
                "missing",
                "{place}, '{file}', lies in no folder, so it has no class. Put it into a folder with the name of its "
                "class.",
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
        yield Row(number, {"image": image, "label": path.parent.name}, is_validation=is_validation)


def place_of(data: bytes, where: str, name: str) -> str:
    """Location of the image `data`, stored as `name` in the folder, zip or Parquet file `where`.

    Raises StudioError if the image cannot be decoded.
    """
    decode(data)
    return f"{PREFIX}{hashlib.blake2b(data, digest_size=8).hexdigest()}:{where}{_INSIDE}{name}"


def open_picture(place: str) -> Image:
    """Load the image at a row's location, in RGB. Raises StudioError if it is missing or damaged."""
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
    """Display name of an image: its path inside the folder or zip."""
    return place.rpartition(_INSIDE)[2]


def digest_of(place: str) -> str:
    """Hash of the image file; equal for files with equal bytes."""
    return place.removeprefix(PREFIX).partition(":")[0]


def decode(data: bytes) -> Image:
    """Decode an image file to RGB, rotated according to its EXIF orientation. Raises StudioError with the reason."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except Image.DecompressionBombError as error:
        raise StudioError(
            "It has more than {count} million pixels.", count=round(2 * Image.MAX_IMAGE_PIXELS / 1e6)
        ) from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise StudioError("It is no picture, or a damaged one.") from error


def _bytes(where: str, name: str) -> bytes:
    """Read the file `name` in the folder or zip `where`, or the cell "column/row" (rows from 1) of a Parquet file."""
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
    except Exception as error:  # zipfile raises many types on damaged files
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


@lru_cache(maxsize=2)  # a row group is the smallest unit of reading, and neighbouring rows are often read together
def _cells(where: str, changed: int, column: str, group: int):
    """The image cells of one row group.

    changed: modification time of the file, which is part of the cache key so that a changed file is read again.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(where) as file:
        return file.read_row_group(group, columns=[column]).column(column)

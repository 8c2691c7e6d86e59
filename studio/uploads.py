"""Copy uploaded files into the home folder under safe names.

Each file is stored in a folder named after the hash of its content, so the same file is stored only once. Independent
of file formats.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from pathlib import Path

from studio.words import StudioError

_NAME_BYTES = 120


def import_file(uploads: Path, source: Path, name: str | None = None) -> Path:
    """Copy `source` into `uploads`, under `name` (default: its own name) made safe by `upload_name`; returns the path.

    Raises `StudioError` if it cannot be written.
    """
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    folder = uploads / digest
    target = folder / upload_name(name or source.name)
    if target.exists():
        return target
    part = folder / f".{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(source, part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        _remove_empty(folder)
        raise StudioError(
            "{name} cannot be kept in {folder} ({detail}). Free some disk space there.",
            name=target.name,
            folder=uploads,
            detail=error.strerror or str(error),
        ) from error
    return target


def upload_name(name: str) -> str:
    """Make `name` a safe path component: no folders or special characters, limited length. Keeps the file extension."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, suffix = re.fullmatch(r"(.*?)(\.\w{1,10})?", last, re.DOTALL).groups()
    stem = re.sub(r"[^\w.\- ]+", "_", stem)
    stem = stem.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore").strip("._ ")
    return (stem or "upload") + (suffix or "")


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # the folder is not empty
        folder.rmdir()

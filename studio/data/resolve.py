"""Resolve the source string of a recipe: the name of an example, a local path, or a hub id. Independent of formats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from studio import home
from studio.data import hub
from studio.data.pictures import holds_pictures
from studio.words import StudioError

VALIDATION = ".validation"


class Resolved(NamedTuple):
    """train: argument of `open_source`; validation: validation file of the source, if any; title: display name."""

    train: Path | str
    validation: Path | None
    title: str


def samples() -> dict[str, Path]:
    """Name → file of the examples that come with the studio."""
    if not home.SAMPLES.is_dir():
        return {}
    files = sorted(path for path in home.SAMPLES.iterdir() if path.is_file() and not path.stem.endswith(VALIDATION))
    return {path.stem: path for path in files if path.suffix in {".jsonl", ".json", ".csv", ".txt", ".parquet", ".zip"}}


def resolve(source: str | Path) -> Resolved:
    """Locate the rows of `source`. An example includes its validation file, if it has one.

    Raises StudioError if no source is given, it does not exist, or it is a folder without images.
    """
    text = str(source).strip()
    if not text:
        raise StudioError("No data is chosen. Upload a file, or try an example.")
    if text.startswith(hub.PREFIX):
        return Resolved(text, None, hub.parse(text).name)
    known = samples()
    if text in known:
        return Resolved(known[text], _sibling(known[text]), known[text].name)
    path = Path(text)
    try:
        path = path.expanduser()
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError, RuntimeError):  # name too long, null byte in it, or ~user of an unknown user
        exists = folder = False
    if folder and not holds_pictures(path):
        raise StudioError("{name} is a folder. Choose a file in it, or zip it.", name=text)
    if not exists:
        raise StudioError(
            "'{source}' is neither an example ({examples}) nor a file on this computer. Check the path, or write "
            "hub:owner/name for a "
            "dataset on the hub.",
            source=text[:200],
            examples=", ".join(known) or "-",
        )
    own = path.resolve().parent == home.SAMPLES.resolve()
    return Resolved(path, _sibling(path) if own else None, path.name)


def stamp(sources: Iterable[str]) -> list:
    """A value that changes when a file of `sources` changes: paths, modification times and sizes.

    Sources that cannot be resolved are omitted.
    """
    found = []
    for source in sources:
        try:
            resolved = resolve(source)
        except StudioError:
            continue
        for path in (resolved.train, resolved.validation):
            if isinstance(path, Path):
                status = path.stat()
                found.append([str(path), status.st_mtime_ns, status.st_size])
    return found


def _sibling(path: Path) -> Path | None:
    sibling = path.with_name(f"{path.stem}{VALIDATION}{path.suffix}")
    return sibling if sibling.is_file() else None

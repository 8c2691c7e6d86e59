"""Unpack a zip of data files safely: limits on size, compression ratio and file count, regular files only.

Members are copied under generated names, so that no name in the zip determines a path on disk.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from studio.words import StudioError

MAX_UNPACKED_BYTES = 2 * 2**30
MAX_RATIO = 200
"""Maximum ratio of unpacked to packed size; text compresses about 10:1, very repetitive text about 100:1."""
RATIO_FROM_BYTES = 16 * 2**20
"""Unpacked size in bytes up to which the ratio is not checked."""
MAX_MEMBERS = 2000

_IGNORED = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
_TROUBLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
)


def ignored(inside: str) -> bool:
    """Whether a path is metadata that an operating system adds, such as __MACOSX or Thumbs.db."""
    return bool(_IGNORED & set(PurePosixPath(inside).parts))


def check_archive(path: Path, name: str, most: int | None = None) -> list[zipfile.ZipInfo]:
    """The files in a zip, after all checks that its central directory allows.

    most: maximum number of members, `MAX_MEMBERS` if None. Raises StudioError if a check fails or there is no file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _TROUBLE as error:
        raise _damaged(name) from error
    if not all(member.filename for member in members):
        raise _damaged(name)
    most = most or MAX_MEMBERS
    if len(members) > most:
        raise StudioError(
            "{name} holds {count} files; at most {limit} are unpacked. Put the data into fewer files.",
            name=name,
            count=len(members),
            limit=most,
        )
    total = sum(member.file_size for member in members)
    packed = max(1, path.stat().st_size)
    if total > MAX_UNPACKED_BYTES or (total > RATIO_FROM_BYTES and total > MAX_RATIO * packed):
        raise _bomb(name, total, packed)
    files = [member for member in members if not member.is_dir() and not ignored(member.filename)]
    for member in files:
        _check_member(member, name)
    if not files:
        raise StudioError("{name} is an empty zip. Put at least one data file in it.", name=name)
    return files


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    """Raises StudioError for a path outside the archive, a symbolic link, an encrypted member or a nested archive."""
    inside = member.filename
    parts = inside.replace("\\", "/").split("/")
    if inside.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise StudioError(
            "{name} holds a file named '{inside}', which points outside the archive. Make the zip again from a plain "
            "folder.",
            name=name,
            inside=inside[:80],
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise StudioError(
            "{name} holds a link named '{inside}' in place of a file. Make the zip again with the file itself.",
            name=name,
            inside=inside[:80],
        )
    if member.flag_bits & 1:
        raise StudioError("{name} is locked with a password. Make the zip again without one.", name=name)
    if inside.lower().endswith((".zip", ".7z", ".rar", ".gz", ".tar", ".tgz", ".bz2", ".xz")):
        raise StudioError(
            "{name} holds another archive, '{inside}'. Unpack that one and zip its files directly.",
            name=name,
            inside=inside[:80],
        )


def unpack(path: Path, name: str) -> tuple[tempfile.TemporaryDirectory, list[tuple[str, Path]]]:
    """Unpack a zip and return (temporary folder that removes itself, [(name inside the zip, unpacked file)]).

    Sizes are checked again during unpacking, because the sizes that a zip declares may be false. Raises StudioError,
    after removing the folder.
    """
    files = check_archive(path, name)
    folder = tempfile.TemporaryDirectory(prefix="delta-studio-zip-")
    try:
        copies: list[tuple[str, Path]] = []
        left = sum(member.file_size for member in files)
        with zipfile.ZipFile(path) as archive:
            for index, member in enumerate(files):
                target = Path(folder.name) / f"{index:05d}"
                left -= _copy(archive, member, target, left, name, path)
                copies.append((member.filename, target))
    except _TROUBLE as error:
        folder.cleanup()
        raise _damaged(name) from error
    except OSError as error:
        folder.cleanup()
        raise StudioError(
            "{name} cannot be unpacked ({detail}). Free some disk space, or unpack it yourself.",
            name=name,
            detail=error.strerror or str(error),
        ) from error
    except BaseException:
        folder.cleanup()
        raise
    return folder, copies


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int, name: str, path: Path) -> int:
    """Unpack one member to `target` and return its size in bytes; more than `left` bytes is a zip bomb."""
    if shutil.disk_usage(target.parent).free < member.file_size:
        raise OSError(28, "No space left on device")
    written = 0
    with archive.open(member) as packed, open(target, "wb") as file:
        while chunk := packed.read(2**20):
            written += len(chunk)
            if written > left:
                raise _bomb(name, written, path.stat().st_size)
            file.write(chunk)
    return written


def _bomb(name: str, total: int, packed: int) -> StudioError:
    return StudioError(
        "{name} would unpack to {total} MB from {packed} MB, which looks like a zip bomb and was not unpacked. "
        "If the data is real, choose the unpacked file.",
        name=name,
        total=max(1, total // 10**6),
        packed=round(packed / 10**6, 2),
    )


def _damaged(name: str) -> StudioError:
    return StudioError("{name} is a damaged zip and cannot be opened. Make it again.", name=name)

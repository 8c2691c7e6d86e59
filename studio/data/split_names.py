"""Which files of a zip or folder, or parts of a file, are there to learn from and which to measure on, by the names
that Hugging Face's loaders go by.

Knows nothing about what the files hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

LEARNT, MEASURED = "labelled", "measured"
_LEARNT = {"train", "training"}
_MEASURED = {"test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"}


def by_folder(names: Iterable[str]) -> dict[str, tuple[bool, bool]]:
    """Name → (measured on, in a folder of its own below that side), for the files below folders like train/ and test/
    that lie side by side.

    A folder is a side only where train/ has folders in it and stands beside it, so that a class may be called "test".
    """
    folders = {name: PurePosixPath(name).parts[:-1] for name in names}
    roots = {parts[:at] for parts in folders.values() for at, part in enumerate(parts[:-1]) if part.lower() in _LEARNT}
    found = {}
    for name, parts in folders.items():
        at = next(
            (at for at, part in enumerate(parts) if parts[:at] in roots and part.lower() in _LEARNT | _MEASURED), None
        )
        if at is not None:
            found[name] = parts[at].lower() in _MEASURED, len(parts) > at + 1
    return found


def measured(names: Iterable[str]) -> set[str]:
    """The data files that are called test or validation, or lie in a folder of that name; none where no file is called
    train."""
    words = {name: _words(name) for name in names}
    if not any(found & _LEARNT for found in words.values()):
        return set()
    return {name for name, found in words.items() if found & _MEASURED}


def side(name: str) -> str | None:
    """LEARNT or MEASURED for the name of a split, such as train, train_sft or validation; None for any other name."""
    words = _words(name)
    return LEARNT if words & _LEARNT else MEASURED if words & _MEASURED else None


def _words(name: str) -> set[str]:
    """What says a file's side: the words of its own name, or else of the nearest folder's."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        if found := set(re.split(r"[\W_]+", part)) & (_LEARNT | _MEASURED):
            return found
    return set()

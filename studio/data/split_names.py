"""Recognise training and validation files, folders and splits by their names, as Hugging Face's loaders do.

Independent of file contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

TRAIN, MEASURED = "train", "measured"
_LEARNT = {"train", "training"}
_MEASURED = {"test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"}


def by_folder(names: Iterable[str]) -> dict[str, tuple[bool, bool]]:
    """Name → (whether it is validation data, whether it is in a subfolder of its split's folder).

    Covers the files in sibling folders such as train/ and test/. A folder counts as a split only if train/ has
    subfolders and is its sibling, so that a class may be named "test".
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
    """The data files that are named test or validation, or are in a folder with such a name.

    Empty if no file is named train.
    """
    words = {name: _words(name) for name in names}
    if not any(found & _LEARNT for found in words.values()):
        return set()
    return {name for name, found in words.items() if found & _MEASURED}


def side(name: str) -> str | None:
    """TRAIN or MEASURED for a split name such as train, train_sft or validation; None for any other name."""
    words = _words(name)
    return TRAIN if words & _LEARNT else MEASURED if words & _MEASURED else None


def _words(name: str) -> set[str]:
    """The words that indicate the split: those of the file name, or else of the nearest folder that has any."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        if found := set(re.split(r"[\W_]+", part)) & (_LEARNT | _MEASURED):
            return found
    return set()

"""What Hugging Face's `datasets` writes with save_to_disk: which of a folder's files hold rows, which of the rows
count, and what only describes them.

    state.json          names the Arrow files of one split, and those that hold row numbers where not all rows count
    dataset_info.json   features and licence          dataset_dict.json   names of the splits, each a folder

Older versions of the library kept row numbers in files of their own; newer ones write the rows out. Knows nothing about
what rows mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from studio.data.readers_binary import damaged, rows_of
from studio.data.rows import Row
from studio.data.source import Source

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
DESCRIPTIONS = {_INFO, "dataset_infos.json"}
"""Names of files that describe a dataset and hold no rows of it, LLaMA-Factory's list of datasets among them."""
_LARGEST = 8 * 2**20  # bytes of a description
_AT_ONCE = 1000


@dataclass
class Saved:
    """One split. folder: its name inside the zip; files: the data files and numbers the files of row numbers, by name
    inside the zip; described: files of it that hold no rows."""

    folder: str
    files: list[str]
    numbers: list[str] = field(default_factory=list)
    described: set[str] = field(default_factory=set)


def saved_splits(files: dict[str, Path]) -> tuple[list[Saved], set[str]]:
    """(the splits that were saved so, the files that only describe them) of `files`, name inside the zip → where it was
    copied to."""
    found, described = [], set()
    for name, path in files.items():
        at = PurePosixPath(name)
        if at.name == _SPLITS and "splits" in _object(path):
            described.add(name)
        if (
            at.name != _STATE
            or not (data := _named(state := _object(path), "_data_files", at.parent))
            or not set(data) <= files.keys()
        ):
            continue
        numbers = [name for name in _named(state, "_indices_data_files", at.parent) if name in files]
        split = Saved(str(at.parent), data, numbers, {name, str(at.parent / _INFO)} & files.keys())
        found.append(split)
        described |= split.described
    return found, described


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where it holds none."""
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(state: dict, key: str, folder: PurePosixPath) -> list[str]:
    entries = state.get(key)
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [str(folder / name) for name in names if isinstance(name, str) and name]


def read_numbered(source: Source, files: list[Path], numbers: list[Path]) -> Iterator[Row]:
    """The rows of Arrow `files`, put one behind the other, that the Arrow files `numbers` name, in that order; numbered
    from 1."""
    import pyarrow as pa

    with damaged(source):
        table = pa.concat_tables([_table(path) for path in files])
        chosen = pa.concat_tables([_table(path) for path in numbers]).column(0)
        source.layout = list(table.schema.names)
        batches = (
            batch
            for at in range(0, len(chosen), _AT_ONCE)
            for batch in table.take(chosen.slice(at, _AT_ONCE)).combine_chunks().to_batches()
        )
        yield from rows_of(source, batches)


def _table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.ipc as ipc

    with pa.memory_map(str(path)) as file:
        try:
            return ipc.open_file(file).read_all()
        except pa.ArrowInvalid:
            file.seek(0)
            return ipc.open_stream(file).read_all()

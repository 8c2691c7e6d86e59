"""Datasets written by Hugging Face's `datasets` with save_to_disk: find their data files and the rows that count.

    state.json          lists the Arrow files of one split, and the indices files if only some of the rows count
    dataset_info.json   features and licence          dataset_dict.json   names of the splits, each a folder

Older versions of the library store indices of the selected rows in separate files; newer ones write out the rows.
Independent of the meaning of rows.
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
"""Names of files that describe a dataset and hold no rows, including LLaMA-Factory's list of datasets."""
_LARGEST = 8 * 2**20  # maximum size in bytes of a JSON file that describes a dataset
_AT_ONCE = 1000


@dataclass
class Saved:
    """One split, with file names as inside the zip.

    folder: its folder; files: data files; numbers: indices files; described: its files that hold no rows.
    """

    folder: str
    files: list[str]
    numbers: list[str] = field(default_factory=list)
    described: set[str] = field(default_factory=set)


def saved_splits(files: dict[str, Path]) -> tuple[list[Saved], set[str]]:
    """Return (the saved splits, the files that only describe them).

    files: name inside the zip → path of the extracted copy.
    """
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
    """The object in a JSON file; {} if the file is too large, invalid, or holds another type."""
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
    """Yield the rows selected by indices from concatenated Arrow files, numbered from 1.

    files: data files; numbers: files with the indices of the rows, in the order in which they are yielded.
    """
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

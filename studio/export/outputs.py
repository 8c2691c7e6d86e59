"""Finished exports as folders in home/exports/ID: the files and a manifest, `export.json`.

A folder appears complete or not at all; what a killed job leaves is hidden and swept. Imports no torch.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.home import Home, safe_name
from studio.library.adapter_store import sync_folder
from studio.store import Store
from studio.words import StudioError

MANIFEST = "export.json"
_HALF = ".half-"
_ENDED = ("done", "failed", "stopped")


def new_id(adapter_id: str, target: str) -> str:
    """A new id for an export of an adapter; ids sort by time."""
    return safe_name(f"{adapter_id[:60]}.{target}.{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000:06d}")


@contextmanager
def writing(home: Home, job_id: int) -> Iterator[Path]:
    """A hidden folder for the files of the export that job `job_id` makes, removed at the end."""
    half = home.exports / f"{_HALF}{job_id}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
    finally:
        shutil.rmtree(half, ignore_errors=True)


def keep(home: Home, half: Path, export_id: str, manifest: dict) -> dict:
    """List the files in `half` as a finished export; returns its manifest with "id", "files" and "finished"."""
    files = [
        {"name": str(path.relative_to(half)), "bytes": path.stat().st_size}
        for path in sorted(half.rglob("*"))
        if path.is_file()
    ]
    manifest = {"id": export_id, "finished": time.strftime("%Y-%m-%dT%H:%M:%S"), "files": files, **manifest}
    (half / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    sync_folder(half)
    folder = home.exports / safe_name(export_id)
    if folder.exists():
        raise StudioError("There is an export in '{folder}' already; delete it first.", folder=folder)
    os.replace(half, folder)
    return manifest


def listing(home: Home, adapter_id: str) -> list[dict]:
    """The manifests of the finished exports of an adapter, newest first."""
    found = [manifest for manifest in _manifests(home) if manifest.get("adapter") == adapter_id]
    return sorted(found, key=lambda each: each["finished"], reverse=True)  # within a second, as `_manifests` has them


def _manifests(home: Home) -> Iterator[dict]:
    """Every readable manifest, that of the file written last first."""
    found = []
    for path in home.exports.glob(f"*/{MANIFEST}"):
        if path.parent.name.startswith("."):
            continue
        try:
            found.append((path.stat().st_mtime_ns, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue  # not ours: the manifest is written before the folder gets its name
    return (manifest for _, manifest in sorted(found, key=lambda each: each[0], reverse=True))


def file_path(home: Home, export_id: str, name: str) -> Path:
    """The path of a file of a finished export. Raises StudioError if there is none of this name."""
    folder = (home.exports / safe_name(export_id)).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise StudioError("The export has no file '{name}' any more; export again.", name=name)
    return path


def delete(home: Home, export_id: str) -> None:
    """Delete a finished export and its files for good."""
    folder = home.exports / safe_name(export_id)
    hidden = folder.with_name(f"{_HALF}{folder.name}")  # so that it is never listed with some files gone
    if folder.is_dir():
        os.replace(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def sweep(home: Home, store: Store) -> None:
    """Remove what jobs that were killed, or deletions that were interrupted, left behind, and the exports of adapters
    that were deleted for good.
    """
    for folder in home.exports.glob(f"{_HALF}*"):
        number = folder.name.removeprefix(_HALF)
        job = store.job(int(number)) if number.isdigit() else None
        if folder.is_dir() and (job is None or job["state"] in _ENDED):
            shutil.rmtree(folder, ignore_errors=True)
    known = {row["id"] for deleted in (False, True) for row in store.adapters(deleted=deleted)}
    for manifest in _manifests(home):
        if manifest.get("adapter") not in known:
            delete(home, manifest["id"])

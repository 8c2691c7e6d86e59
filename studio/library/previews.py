"""Previews: adapters that were blended or converted and not saved yet. Chat can answer with them, the library does not
list them.

A preview is a folder in home/previews and a row in the store, as an adapter has them, with an id that begins with
`PREVIEW`. It is saved as an adapter of the library, discarded, or removed by `sweep` after some time. Imports no torch.
"""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

from studio.home import PREVIEW, Home
from studio.library import adapter_store
from studio.store import Store

_LIFETIME = 86_400.0  # seconds
_MOST = 24  # previews kept, newest first


def preview_id(key: str) -> str:
    """The id of the preview that was made from what `key` names."""
    return f"{PREVIEW}{key}"


def add(home: Home, store: Store, *, source: Path, name: str, card: dict, preview: str) -> str:
    """Copy the adapter in `source` to the previews, under the id `preview`; returns the id. Removes old previews."""
    sweep(home, store)
    return adapter_store.add(home, store, source=source, name=name, run_id=None, card=card, adapter_id=preview)


def save(home: Home, store: Store, preview: str, name: str) -> str:
    """Make the preview an adapter of the library under this name; returns its id.

    Raises StudioError for an invalid name, or if the preview is not there any more.
    """
    folder, card, _ = adapter_store.find(home, store, preview)
    new = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
    adapter_store.add(home, store, source=folder, name=name, run_id=None, card=card, adapter_id=new)
    discard(home, store, preview)
    return new


def discard(home: Home, store: Store, preview: str) -> None:
    """Delete a preview; nothing happens if there is none of this id."""
    if not preview.startswith(PREVIEW):
        raise ValueError(f"not a preview: {preview}")
    with store.transaction() as db:
        db.execute("DELETE FROM adapters WHERE id=?", (preview,))
    shutil.rmtree(home.adapter(preview), ignore_errors=True)


def sweep(home: Home, store: Store) -> int:
    """Delete the previews that are a day old, and all but the newest; returns how many."""
    now = time.time()
    rows = store.previews()
    old = [row for at, row in enumerate(rows) if at >= _MOST - 1 or now - row["created"] > _LIFETIME]
    for row in old:
        discard(home, store, row["id"])
    known = {row["id"] for row in rows}
    for folder in home.adapter(PREVIEW).parent.iterdir():  # left by a process that was killed
        if folder.name not in known and now - folder.stat().st_mtime > _LIFETIME:
            shutil.rmtree(folder, ignore_errors=True)
    return len(old)

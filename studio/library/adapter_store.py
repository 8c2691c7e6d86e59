"""The library's storage: finished adapters as plain folders in home/adapters/ID, each with a row in the store.

The row holds the adapter's card: a dict of facts about it and its run. An adapter is in the library once both its
folder and its row exist; `repair` restores consistency after a crash between the two, from the folder's studio.json.
Imports no torch and is independent of the adapter's type.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from studio.home import Home, safe_name
from studio.library import search as library_search
from studio.library.card import model_card
from studio.library.search import Query
from studio.store import Store
from studio.words import StudioError

CARD = "studio.json"
MAX_NOTES, MAX_TAG, MAX_TAGS = 20_000, 40, 20  # characters of an adapter's notes and of a tag; tags of an adapter
_HALF = ".half-"  # prefix of a folder that is being written, or was when its process was killed
_OLD = ".old-"  # prefix of the previous version of a folder while it is being replaced
_HALF_IS_OLD = 3600.0  # seconds without a change after which an unfinished folder counts as abandoned


def add(
    home: Home, store: Store, *, source: Path, name: str, run_id: str | None, card: dict, adapter_id: str | None = None
) -> str:
    """Copy the finished files in `source` into the library; returns the adapter's id, by default `run_id`.

    The folder appears complete or not at all, then its row. A repeated call, as after a worker was killed, replaces
    both. Adds `bytes` and `overrides_template` to the card, and `finished` where it is missing. Raises StudioError for
    an invalid name.
    """
    adapter_id = safe_name(adapter_id or run_id or "")
    name = good_name(name)
    target = home.adapter(adapter_id)
    half = target.with_name(f"{_HALF}{adapter_id}-{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir()
        for item in sorted(Path(source).rglob("*")):
            if item.is_file() and not item.is_symlink():
                copy = half / item.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(item, copy)
        lent = (half / "chat_template.jinja").exists()  # then the base has no chat template
        card = {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
            **card,
            "bytes": weight_bytes(half),
            "overrides_template": lent,
        }
        _write_words(half, name, run_id, card)
        sync_folder(half)
        _replace(half, target)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    store.add_adapter(adapter_id, name, run_id, card)
    shutil.rmtree(home.trash(adapter_id), ignore_errors=True)  # an earlier adapter of this id that was deleted
    return adapter_id


def find(home: Home, store: Store, adapter_id: str) -> tuple[Path, dict, str]:
    """Folder, card and name of an adapter in the library; raises StudioError if it is missing or in the trash."""
    row = store.adapter(safe_name(adapter_id))
    folder = home.adapter(adapter_id)
    if row is None or row["deleted"] is not None or not folder.is_dir():
        raise StudioError(
            "The adapter '{name}' is not in the library any more; look in the trash.",
            name=row["name"] if row else adapter_id,
        )
    return folder, row["card"], row["name"]


def listing(
    store: Store,
    search: str = "",
    sort: str = "newest",
    *,
    base: str | None = None,
    shown_only: bool = False,
    deleted: bool = False,
) -> list[dict]:
    """All rows of the library that contain every word of `search`, in the order `sort`, a key of `search.SORTS`.

    base: only adapters of this base model. shown_only: only those that visitors of a Space may use. deleted: those in
    the trash instead.
    """
    query = Query(words=search, sort=sort, base=base, shown_only=shown_only, deleted=deleted)
    return library_search.find(store, query)


def rename(home: Home, store: Store, adapter_id: str, name: str) -> None:
    """Rename an adapter in the store and in its files."""
    folder, card, _ = find(home, store, adapter_id)
    name = good_name(name)
    store.change_adapter(adapter_id, name=name)
    _write_words(folder, name, store.adapter(adapter_id)["run_id"], card)


def annotate(
    home: Home, store: Store, adapter_id: str, *, notes: str | None = None, tags: Sequence[str] | None = None
) -> dict:
    """Set the notes or the tags of an adapter in the store and in its files; returns its card.

    None leaves them as they are. Raises StudioError if they are too long or too many.
    """
    folder, _, name = find(home, store, adapter_id)
    if notes is not None and len(notes) > MAX_NOTES:
        raise StudioError("Notes can have {most:,} characters; these have {count:,}.", most=MAX_NOTES, count=len(notes))
    changes = {}
    if notes is not None:
        changes["notes"] = notes.strip()
    if tags is not None:
        changes["tags"] = good_tags(tags)
    with store.transaction():
        row = store.adapter(adapter_id)
        card = {**row["card"], **changes}
        store.change_adapter(adapter_id, card=card)
    _write_words(folder, name, row["run_id"], card)
    return card


def good_tags(tags: Iterable[str]) -> list[str]:
    """The tags with white space normalised, without repetitions (case-insensitive), in their order.

    Raises StudioError for a tag that is empty, too long or not printable, and for too many tags.
    """
    found: dict[str, str] = {}
    for tag in tags:
        tag = " ".join(str(tag).split())
        if not tag or len(tag) > MAX_TAG or not tag.isprintable():
            raise StudioError(
                "A tag must be one line of 1 to {most} characters; '{tag}' is not.", most=MAX_TAG, tag=tag[:60]
            )
        found.setdefault(tag.casefold(), tag)
    if len(found) > MAX_TAGS:
        raise StudioError("There can be {most} tags at most; remove one first.", most=MAX_TAGS)
    return list(found.values())


def show(home: Home, store: Store, adapter_id: str, shown: bool = True) -> None:
    """Set whether the visitors of a Space may use an adapter in Chat."""
    find(home, store, adapter_id)
    store.change_adapter(adapter_id, shown=int(shown))


def delete(home: Home, store: Store, adapter_id: str) -> None:
    """Move an adapter to the trash, replacing an older one of the same id there; `restore` undoes it."""
    folder, _, _ = find(home, store, adapter_id)
    shutil.rmtree(home.trash(adapter_id), ignore_errors=True)
    # The row goes first: it determines where the folder belongs, so `repair` can finish the move after a crash.
    store.change_adapter(adapter_id, deleted=time.time())
    os.replace(folder, home.trash(adapter_id))


def restore(home: Home, store: Store, adapter_id: str) -> None:
    """Move an adapter from the trash back to the library; raises StudioError if it is not in the trash."""
    row = store.adapter(safe_name(adapter_id))
    if row is None or row["deleted"] is None or not home.trash(adapter_id).is_dir():
        raise StudioError("'{name}' is not in the trash any more.", name=row["name"] if row else adapter_id)
    if not home.adapter(adapter_id).exists():
        os.replace(home.trash(adapter_id), home.adapter(adapter_id))
    store.change_adapter(adapter_id, deleted=None)


def remove(home: Home, store: Store, adapter_id: str) -> None:
    """Delete an adapter in the trash permanently; raises StudioError if it is not there."""
    row = store.adapter(safe_name(adapter_id))
    if row is None or row["deleted"] is None:
        raise StudioError("'{name}' is not in the trash any more.", name=row["name"] if row else adapter_id)
    # The row goes first: `repair` removes a folder in the trash that has no row, whereas a row without a folder
    # would list an adapter that cannot be restored.
    store.remove_adapter(adapter_id, only_deleted=True)
    shutil.rmtree(home.trash(adapter_id), ignore_errors=True)


def empty_trash(home: Home, store: Store) -> int:
    """Delete all adapters in the trash permanently; returns their number."""
    rows = store.adapters(deleted=True)
    for row in rows:
        store.remove_adapter(row["id"], only_deleted=True)
        shutil.rmtree(home.trash(row["id"]), ignore_errors=True)
    return len(rows)


def repair(home: Home, store: Store) -> list[str]:
    """Make folders and rows consistent after a crash; returns the ids of the adapters repaired.

    Cheap: to be called whenever a window starts.
    """
    mended = _finish_moves(home, store)
    rows = {row["id"] for deleted in (False, True) for row in store.adapters(deleted=deleted)}
    for folder in _folders(home.root / "adapters"):
        if folder.name.startswith("."):
            _sweep(folder)
        elif folder.name not in rows and (words := _read_words(folder)):
            store.add_adapter(folder.name, words["name"], words["run_id"], words["card"])
            mended.append(folder.name)
    for folder in _folders(home.root / "trash"):
        if folder.name not in rows:
            shutil.rmtree(folder, ignore_errors=True)
            mended.append(folder.name)
    return mended


def weight_bytes(folder: Path) -> int:
    """The size in bytes of all *.safetensors files in `folder`, subfolders included."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _finish_moves(home: Home, store: Store) -> list[str]:
    """Move each folder to where its row says that it belongs, and delete rows without a folder; returns their ids."""
    mended = []
    for deleted in (False, True):
        for row in store.adapters(deleted=deleted):
            here, other = (home.adapter(row["id"]), home.trash(row["id"]))[:: -1 if deleted else 1]
            if here.is_dir():
                continue
            mended.append(row["id"])
            # There is one if the process was killed in the middle of `_replace`.
            aside = next(iter(sorted(here.parent.glob(f"{_OLD}{row['id']}-*"))), None)
            if other.is_dir() or aside:
                os.replace(other if other.is_dir() else aside, here)
                continue
            store.remove_adapter(row["id"])
    return mended


def _folders(parent: Path) -> Iterable[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _sweep(folder: Path) -> None:
    """Remove a temporary folder in which nothing has changed for _HALF_IS_OLD seconds."""
    newest = max((path.stat().st_mtime for path in [folder, *folder.rglob("*")]), default=0)
    if time.time() - newest > _HALF_IS_OLD:
        shutil.rmtree(folder, ignore_errors=True)


def _write_words(folder: Path, name: str, run_id: str | None, card: dict) -> None:
    """Write README.md, studio.json and, if the card has a recipe, recipe.yaml of the adapter in `folder`."""
    _write(folder / "README.md", model_card(name, card))
    if card.get("recipe"):
        _write(folder / "recipe.yaml", yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True))
    _write(folder / CARD, json.dumps({"name": name, "run_id": run_id, "card": card}, indent=1, ensure_ascii=False))


def _read_words(folder: Path) -> dict | None:
    """Name, run id and card from studio.json; None if it is missing or malformed."""
    try:
        words = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {"name": str(words["name"]), "run_id": words.get("run_id"), "card": dict(words["card"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def sync_folder(folder: Path) -> None:
    """Flush everything in `folder`, itself included, to the disk (fsync)."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(half: Path, target: Path) -> None:
    """Rename folder `half` to `target`, which may exist.

    A folder that is not empty cannot be replaced atomically, so an existing one is renamed first.
    """
    if not target.exists():
        os.replace(half, target)
        return
    old = target.with_name(f"{_OLD}{target.name}-{os.getpid()}")
    os.replace(target, old)
    os.replace(half, target)
    shutil.rmtree(old, ignore_errors=True)


def good_name(name: str) -> str:
    """The name with white space normalised; raises StudioError unless it has 1 to 120 characters, all printable."""
    name = " ".join(name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise StudioError("A name must be one line of 1 to 120 characters; '{name}' is not.", name=name[:60])
    return name

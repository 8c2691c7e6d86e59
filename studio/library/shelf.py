"""The shelf: finished adapters as plain folders in home/adapters/ID, each with a row in the store that knows its card.

An adapter is on the shelf once its folder and its row are there; a crash between the two is healed by `heal`, which knows
everything it needs from the folder's own studio.json. It knows nothing about torch, and nothing about what an adapter does.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from studio.home import Home, safe_name
from studio.library.card import model_card
from studio.store import Store
from studio.words import StudioError

SORTS = {"newest": "Newest first", "name": "Name", "metric": "Best result first", "size": "Smallest first"}
CARD = "studio.json"
_HALF = ".half-"  # a folder of this name is being written, or was when somebody was killed
_OLD = ".old-"  # the folder of this name stepped aside for a newer one
_HALF_IS_OLD = 3600.0  # seconds without a change after which nobody writes it any more


def add(
    home: Home, store: Store, *, source: Path, name: str, run_id: str | None, card: dict, adapter_id: str | None = None
) -> str:
    """Put the finished files in `source` on the shelf; returns the adapter's id, which is `run_id` unless another is given.

    The folder appears whole or not at all, then its row. Doing it again (a worker that was killed right after) replaces both.
    """
    adapter_id = safe_name(adapter_id or run_id or "")
    name = _good_name(name)
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
        lent = (half / "chat_template.jinja").exists()  # the base has no template of its own
        card = {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
            **card,
            "bytes": weight_bytes(half),
            "lent_template": lent,
        }
        _write_words(half, name, run_id, card)
        _sync(half)
        _replace(half, target)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    store.add_adapter(adapter_id, name, run_id, card)
    shutil.rmtree(home.trash(adapter_id), ignore_errors=True)  # of an earlier attempt that was thrown away
    return adapter_id


def find(home: Home, store: Store, adapter_id: str) -> tuple[Path, dict, str]:
    """Folder, card and name of an adapter on the shelf; `StudioError` if it is not there."""
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
    """Rows of the library that contain every word of `search`, in the order `sort` (a key of SORTS).

    base: only adapters of this base model. shown_only: only those that a Space's visitors may use. deleted: the trash.
    """
    rows = store.adapters(deleted=deleted)
    words = search.casefold().split()
    rows = [row for row in rows if all(word in _searchable(row) for word in words)]
    rows = [
        row for row in rows if (base is None or row["card"].get("base") == base) and (row["shown"] or not shown_only)
    ]
    match sort:
        case "name":
            return sorted(rows, key=lambda row: row["name"].casefold())
        case "metric":
            return sorted(rows, key=_score_of)
        case "size":
            return sorted(rows, key=lambda row: row["card"].get("bytes", 0))
        case _:
            return rows


def rename(home: Home, store: Store, adapter_id: str, name: str) -> None:
    """Give it another name, in the store and in its own files."""
    folder, card, _ = find(home, store, adapter_id)
    name = _good_name(name)
    store.change_adapter(adapter_id, name=name)
    _write_words(folder, name, store.adapter(adapter_id)["run_id"], card)


def show(home: Home, store: Store, adapter_id: str, shown: bool = True) -> None:
    """Let the visitors of a Space use it in Chat, or no longer."""
    find(home, store, adapter_id)
    store.change_adapter(adapter_id, shown=int(shown))


def delete(home: Home, store: Store, adapter_id: str) -> None:
    """Into the trash, from where `restore` brings it back."""
    folder, _, _ = find(home, store, adapter_id)
    shutil.rmtree(home.trash(adapter_id), ignore_errors=True)
    store.change_adapter(
        adapter_id, deleted=time.time()
    )  # first: a row says where the folder belongs, `heal` moves it there
    os.replace(folder, home.trash(adapter_id))


def restore(home: Home, store: Store, adapter_id: str) -> None:
    """Out of the trash, back on the shelf."""
    row = store.adapter(safe_name(adapter_id))
    if row is None or row["deleted"] is None or not home.trash(adapter_id).is_dir():
        raise StudioError("'{name}' is not in the trash any more.", name=row["name"] if row else adapter_id)
    if not home.adapter(adapter_id).exists():
        os.replace(home.trash(adapter_id), home.adapter(adapter_id))
    store.change_adapter(adapter_id, deleted=None)


def empty_trash(home: Home, store: Store) -> int:
    """Remove everything in the trash for good; returns how many adapters that were."""
    rows = store.adapters(deleted=True)
    for row in rows:
        # The row goes first: a folder in the trash that no row knows is rubbish to `heal`, a row without a folder would be a promise.
        with store.transaction() as db:
            db.execute("DELETE FROM adapters WHERE id=? AND deleted IS NOT NULL", (row["id"],))
        shutil.rmtree(home.trash(row["id"]), ignore_errors=True)
    return len(rows)


def repair(home: Home, store: Store) -> list[str]:
    """Make folders and rows agree after a crash; returns the ids of what was mended. Cheap; call it when a window starts."""
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
    """The size of what an adapter consists of, its words left out."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _finish_moves(home: Home, store: Store) -> list[str]:
    """A row says where its folder belongs. One that is in the other place is moved; one that is nowhere loses its row."""
    mended = []
    for deleted in (False, True):
        for row in store.adapters(deleted=deleted):
            here, other = (home.adapter(row["id"]), home.trash(row["id"]))[:: -1 if deleted else 1]
            if here.is_dir():
                continue
            mended.append(row["id"])
            aside = next(
                iter(sorted(here.parent.glob(f"{_OLD}{row['id']}-*"))), None
            )  # killed while it was being replaced
            if other.is_dir() or aside:
                os.replace(other if other.is_dir() else aside, here)
                continue
            with store.transaction() as db:
                db.execute("DELETE FROM adapters WHERE id=?", (row["id"],))
    return mended


def _folders(parent: Path) -> Iterable[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _sweep(folder: Path) -> None:
    """Remove a half-written folder that nobody has touched for long."""
    newest = max((path.stat().st_mtime for path in [folder, *folder.rglob("*")]), default=0)
    if time.time() - newest > _HALF_IS_OLD:
        shutil.rmtree(folder, ignore_errors=True)


def _write_words(folder: Path, name: str, run_id: str | None, card: dict) -> None:
    """README.md, recipe.yaml and studio.json of the adapter in `folder`."""
    _write(folder / "README.md", model_card(name, card))
    if card.get("recipe"):
        _write(folder / "recipe.yaml", yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True))
    _write(folder / CARD, json.dumps({"name": name, "run_id": run_id, "card": card}, indent=1, ensure_ascii=False))


def _read_words(folder: Path) -> dict | None:
    """What studio.json says, None where it is missing or torn."""
    try:
        words = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {"name": str(words["name"]), "run_id": words.get("run_id"), "card": dict(words["card"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, text: str) -> None:
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def _sync(folder: Path) -> None:
    """Have everything in `folder` on the disk, not only on its way there."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(half: Path, target: Path) -> None:
    """Put a folder where another may be. A folder cannot be replaced in one go, so an old one steps aside first."""
    if not target.exists():
        os.replace(half, target)
        return
    old = target.with_name(f"{_OLD}{target.name}-{os.getpid()}")
    os.replace(target, old)
    os.replace(half, target)
    shutil.rmtree(old, ignore_errors=True)


def _good_name(name: str) -> str:
    """What people call it: any one line of 1 to 120 characters."""
    name = " ".join(name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise StudioError("A name must be one line of 1 to 120 characters; '{name}' is not.", name=name[:60])
    return name


def _searchable(row: dict) -> str:
    card = row["card"]
    text = [
        row["name"],
        row["id"],
        *(str(card.get(key, "")) for key in ("method", "summary", "base", "data", "task", "ships_as")),
    ]
    return " ".join(text).casefold()


def _score_of(row: dict) -> tuple:
    """Exact match or right labels, the higher the better; then the validation loss, the lower the better; those without either last."""
    metrics = row["card"].get("metrics") or {}
    exact, loss = metrics.get("exact_match", metrics.get("correct")), metrics.get("eval_loss")
    return (exact is None, -(exact or 0.0), loss is None, loss or 0.0)

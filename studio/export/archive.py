"""Pack an adapter as a zip in peft's format, or a whole model in that of transformers.

Needs no torch; the window calls it. In a zip the base model has its public name, and absolute paths of this machine are
reduced to their last part. Independent of how an adapter was fine-tuned.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import yaml

from studio.export.source import Source, find_source
from studio.home import Home
from studio.library import adapter_store
from studio.library.card import model_card, public, public_name
from studio.store import Store
from studio.words import StudioError

_ADAPTER_FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "rope.json",
    "subspace.safetensors",
}
_MODEL_FILES = {".safetensors", ".json", ".jinja"}
_TEXT_FILES = {"tokenizer.model", "merges.txt", "vocab.txt"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # fixed timestamp, so that the same files give the same zip


def zip_adapter(home: Home, store: Store, adapter_id: str, folder: Path) -> Path:
    """Pack the adapter (or merged model) into a zip in `folder`, with README.md and recipe.yaml; returns its path.

    The same adapter gives the same bytes. Raises StudioError if the adapter is not in the library or the disk is full.
    """
    return write_zip(find_source(home, store, adapter_id), folder)


def slug(name: str) -> str:
    """`name` as a part of a file name."""
    return re.sub(r"[^\w\-]+", "-", name).strip("-_")[:60] or "adapter"


def write_zip(source: Source, folder: Path) -> Path:
    """Like `zip_adapter`, of a `source`."""
    name, card = source.name, source.card
    target = Path(folder) / f"{slug(name)}-{source.adapter_id}.zip"
    handle, half = tempfile.mkstemp(dir=folder, suffix=".half")
    os.close(handle)
    try:
        with zipfile.ZipFile(half, "w", allowZip64=True) as archive:
            _put_text(archive, "README.md", model_card(name, card))
            if card.get("recipe"):
                _put_text(
                    archive, "recipe.yaml", yaml.safe_dump(public(card["recipe"]), sort_keys=False, allow_unicode=True)
                )
            for path in files_to_take(source.folder, whole=source.whole):
                _put_file(archive, path, path.relative_to(source.folder).as_posix(), card.get("base", ""))
        os.replace(half, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StudioError(
                "The disk is full: '{name}' could not be packed in {folder}. Free some space and try again.",
                name=name,
                folder=folder,
            ) from error
        raise
    finally:
        Path(half).unlink(missing_ok=True)
    return target


def files_to_take(source: Path, *, whole: bool) -> list[Path]:
    """The files that peft or transformers needs, in a fixed order; those of the members of an ensemble included."""
    files = sorted(path for path in source.iterdir() if path.is_file() and path.name != adapter_store.CARD)
    if not whole:
        return [path for path in [*files, *sorted(source.glob("member*/*"))] if path.name in _ADAPTER_FILES]
    return [path for path in files if path.suffix in _MODEL_FILES or path.name in _TEXT_FILES]


def _put_file(archive: zipfile.ZipFile, path: Path, name: str, base: str) -> None:
    if path.name in ("adapter_config.json", "config.json"):
        config = public(json.loads(path.read_text(encoding="utf-8")))
        if "base_model_name_or_path" in config:
            config["base_model_name_or_path"] = public_name(base)
        _put_text(archive, name, json.dumps(config, indent=2, sort_keys=True) + "\n")
        return
    # Weights are hardly compressible.
    kind = zipfile.ZIP_STORED if path.suffix == ".safetensors" else zipfile.ZIP_DEFLATED
    with open(path, "rb") as file, archive.open(_entry(name, kind), "w", force_zip64=True) as out:
        shutil.copyfileobj(file, out, 1 << 20)


def _put_text(archive: zipfile.ZipFile, name: str, text: str) -> None:
    archive.writestr(_entry(name, zipfile.ZIP_DEFLATED), text)


def _entry(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = kind
    entry.external_attr = 0o644 << 16
    return entry

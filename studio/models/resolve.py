"""Resolve the name of a base model to its folder on disk.

A name is "starter" or "starter-vit", a local folder, or a hub id such as "Qwen/Qwen3-0.6B". Hub models are only
looked up in the local cache; `studio.models.inspect` downloads them in a worker. Uses no torch.
"""

from __future__ import annotations

import re
from pathlib import Path

from studio.home import STARTER, STARTER_VIT
from studio.words import StudioError

STARTERS = {"text": "starter", "image": "starter-vit"}
"""Modality → the name of the bundled model."""
_BUNDLED = {"starter": STARTER, "starter-vit": STARTER_VIT}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[\w.\-]+")


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form owner/name and there is no local path of that name."""
    return bool(_HUB_ID.fullmatch(name)) and _existing_path(name) is None


def local_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of the model called `name`; None for a hub model that is not downloaded yet.

    Raises StudioError if the name is empty or the local folder does not exist.
    """
    if name in _BUNDLED:
        return _BUNDLED[name]
    if not name.strip():
        raise StudioError("Choose a base model: the starter, a local folder, or a hub id like Qwen/Qwen3-0.6B.")
    if not is_hub_id(name):
        folder = _existing_path(name)
        if folder is None or not folder.is_dir():
            raise StudioError(
                "There is no model folder '{name}'; give the full path of a folder with config.json, a hub id "
                "like Qwen/Qwen3-0.6B, or 'starter'.",
                name=name,
            )
        return folder
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder and any(folder.glob("*.safetensors")) else None


def _existing_path(name: str) -> Path | None:
    """The local path `name` if it exists, else None."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    # The name is too long, contains a null byte, or begins with ~ and an unknown user.
    except (OSError, ValueError, RuntimeError):
        return None


def resolve_folder(name: str, revision: str | None = None) -> Path:
    """Like `local_folder`, but raises `StudioError` for a model that is not on this machine."""
    folder = local_folder(name, revision)
    if folder is None:
        raise StudioError(
            "The model '{name}' is not on this machine yet; press Download next to it, or choose the starter model.",
            name=name,
        )
    return folder

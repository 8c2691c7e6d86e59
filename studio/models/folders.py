"""Find and read the files of a model folder, and reject folders with something else: adapters, GGUF files, pipelines.

Uses no torch, and does not read the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from studio.words import StudioError

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
"""The single weight file of transformers, and the index of sharded weights; other safetensors files are not loaded."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def require_model_folder(folder: Path) -> None:
    """Raise StudioError if `folder` holds something else that is easily mistaken for a model."""
    if (folder / "adapter_config.json").exists():
        base = _base_model_name(folder / "adapter_config.json")
        raise StudioError(
            "'{folder}' holds an adapter (adapter_config.json), not a whole model; choose the model that it was "
            "made for{base}, or a merged model.",
            folder=folder,
            base=f" ({base})" if base else "",
        )
    if (folder / "config.json").exists():
        return
    if (folder / "model_index.json").exists():
        raise StudioError(
            "'{folder}' holds an image generation pipeline (model_index.json), not a language model; choose "
            "another model.",
            folder=folder,
        )
    if (folder / "modules.json").exists():
        raise StudioError(
            "'{folder}' holds a pipeline of sentence-transformers (modules.json) without a config.json; choose "
            "the folder of the model in it.",
            folder=folder,
        )
    if any(folder.glob("*.gguf")):
        raise _gguf_only_error(folder)
    if (folder / "params.json").exists():
        raise StudioError(
            "'{folder}' holds a model in its publisher's own format (params.json) without a config.json; choose "
            "its transformers format.",
            folder=folder,
        )


def _base_model_name(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    base = found.get("base_model_name_or_path") if isinstance(found, dict) else None
    return base if isinstance(base, str) else ""


def _gguf_only_error(folder: Path) -> StudioError:
    return StudioError(
        "'{folder}' holds the model only as GGUF ({name}), which is made for running, not for training; choose "
        "the model as safetensors.",
        folder=folder,
        name=min(path.name for path in folder.glob("*.gguf")),
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files from which transformers loads the model. Raises StudioError if any of them is missing."""
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    present = {path.name for path in folder.glob("*.safetensors")}
    if (folder / INDEX_FILE).exists():
        named = sorted(set(read_index(folder).values()))
        missing = [name for name in named if name not in present]
        if missing:
            raise StudioError(
                "The model in '{folder}' lacks {count} of its weight files, such as '{name}'; download it again.",
                folder=folder,
                count=len(missing),
                name=missing[0],
            )
        return [folder / name for name in named]
    if present:
        raise StudioError(
            "'{folder}' has weights in '{name}', but neither model.safetensors nor model.safetensors.index.json, "
            "where they are looked for; download the model again.",
            folder=folder,
            name=min(present),
        )
    if any(folder.glob("*.gguf")):
        raise _gguf_only_error(folder)
    if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        raise StudioError(
            "The model in '{folder}' has only pickle weights (.bin), which can run code when opened; convert it "
            "to safetensors first.",
            folder=folder,
        )
    raise StudioError(
        "The folder '{folder}' has a config.json but no weights (*.safetensors); download the model again.",
        folder=folder,
    )


def read_index(folder: Path) -> dict[str, str]:
    """Tensor name → file name, from the index of a sharded model."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudioError(
            "{file} in '{folder}' is not valid JSON ({detail}); download the model again.",
            file=INDEX_FILE,
            folder=folder,
            detail=error,
        ) from error
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise StudioError(
            "{file} in '{folder}' names no weights (weight_map); download the model again.",
            file=INDEX_FILE,
            folder=folder,
        )
    return found


def files_to_download(names: Iterable[str], weight_map: dict[str, str] | None) -> list[str]:
    """The files of a hub repository to download: configuration, tokenizer, documentation, and the safetensors files
    that transformers loads.

    weight_map: from the index; None if the repository has none. Files in subfolders are omitted, since they are other
    formats of the same weights.
    """
    top = [name for name in names if "/" not in name]
    weights = {WEIGHTS_FILE} if WEIGHTS_FILE in top else set((weight_map or {}).values())
    texts = (".json", ".jinja", ".md")
    return [
        name
        for name in top
        if name in weights or name.endswith(texts) or name == "tokenizer.model" or name.startswith("LICENSE")
    ]


def read_text(path: Path) -> str:
    """Read a text file. Raises StudioError, which names the file, if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StudioError(
            "{file} in '{folder}' cannot be read ({detail}); download the model again.",
            file=path.name,
            folder=path.parent,
            detail=error,
        ) from error


def read_json_object(path: Path) -> dict:
    """Read the JSON object in the file at `path`; {} if there is no file.

    Raises StudioError, which names the file, for any other content.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise StudioError(
            "{file} in '{folder}' is not valid JSON ({detail}); download the model again.",
            file=path.name,
            folder=path.parent,
            detail=error,
        ) from error
    if not isinstance(found, dict):
        raise StudioError(
            "{file} in '{folder}' must hold a JSON object, but holds {value}; download the model again.",
            file=path.name,
            folder=path.parent,
            value=str(found)[:40],
        )
    return found

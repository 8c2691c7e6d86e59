"""Check the files of an adapter from elsewhere, and make its card: its configuration, weights and base model.

Every check that fails raises StudioError with one sentence. Called in a worker, because peft is asked what it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.methods import METHODS
from studio.models.catalogue import catalogue_entry
from studio.models.model_types import loader
from studio.models.resolve import is_hub_id, local_folder
from studio.models.rope_scaling import read_rope_scaling
from studio.models.shape import read_config
from studio.models.stored_tensors import loaded_names, stored_tensors
from studio.recipe import recipe_from_yaml
from studio.words import StudioError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_PREFIX = "base_model.model."
# Keys with which peft would import a module by the name that the file gives.
_NAMES_CODE = ("auto_mapping", "megatron_config", "megatron_core", "custom_modules")


def refuse_pickles(names: Iterable[str], title: str) -> None:
    """Raise StudioError if weights are there as pickles only."""
    names = list(names)
    pickle = next((name for name in names if name.lower().endswith(_PICKLES)), None)
    if pickle and not any(name.endswith(WEIGHTS) for name in names):
        raise StudioError(
            "{name} holds its weights as a pickle ('{file}'), which can run code when it is opened, and is not opened "
            "here. Save the adapter as safetensors (peft's save_pretrained does).",
            name=title,
            file=pickle[-80:],
        )


def check_adapter(folder: Path, title: str, base: str | None = None) -> dict[str, Any]:
    """Check the adapter in `folder` and return its card, in which what is not known is left out.

    base: the base model that the person names; else the configuration's. Writes the configuration anew, with that base
    and without keys that name code.
    """
    config = _config(folder, title)
    tensors = _tensors(folder, title)
    name, revision = _base(config, base)
    for path in (folder, *folder.glob("member*")):
        _write_config(path / CONFIG, name, title)
    _fits_itself(config, tensors, title)
    _fits_base(name, revision, config, tensors)
    recipe = _recipe(folder, config, name)
    method = _method(config, recipe)
    found = {
        "kind": "adapter",
        "artefact_type": config["peft_type"],
        "base": name,
        "revision": revision,
        "method": method,
        "summary": _summary(config, method, recipe),
        "task": recipe["task"]["name"] if recipe else None,
        "recipe": recipe,
        "parameters": sum(_count(shape) for shape in tensors.values()),
        "rope": read_rope_scaling(folder),
        **_classes(config, tensors, recipe, title),
    }
    if place := local_folder(name, revision):
        found["loader"] = loader(read_config(place).get("model_type"))
    return {key: value for key, value in found.items() if value is not None}


def _config(folder: Path, title: str) -> dict:
    """adapter_config.json as peft reads it; raises StudioError if it cannot be read or its type is not known."""
    import studio.tuners  # noqa: F401 - registers the studio's own types with peft

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise StudioError(
            "{file} of {name} cannot be read ({detail}).", file=CONFIG, name=title, detail=str(error)[:120]
        ) from error
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in {str(member.value) for member in PEFT_TYPE_TO_CONFIG_MAPPING}:
        raise StudioError(
            "{file} of {name} says that the adapter is of the type '{kind}', which neither peft nor the studio knows.",
            file=CONFIG,
            name=title,
            kind=str(kind)[:60],
        )
    try:
        PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # peft's configuration classes raise whatever their checks raise
        raise StudioError(
            "{file} of {name} cannot be used ({detail}).", file=CONFIG, name=title, detail=str(error)[:200]
        ) from error
    return config


def _write_config(path: Path, base: str, title: str) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in _NAMES_CODE}
    except (OSError, ValueError, AttributeError) as error:
        raise StudioError(
            "{file} of {name} cannot be read ({detail}).", file=CONFIG, name=title, detail=str(error)[:120]
        ) from error
    path.write_text(
        json.dumps({**kept, "base_model_name_or_path": base}, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


def _tensors(folder: Path, title: str) -> dict[str, tuple[int, ...]]:
    """Name → size of the tensors in all weight files; raises StudioError if one is damaged or holds no numbers."""
    from safetensors import SafetensorError, safe_open

    if not (folder / WEIGHTS).exists():
        raise StudioError("{name} holds no {file}; the weights are missing.", name=title, file=WEIGHTS)
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    tensor = file.get_tensor(name)
                    if tensor.is_floating_point() and not tensor.isfinite().all():
                        raise StudioError(
                            "The tensor {tensor} of {name} holds values that are not finite (NaN); the adapter is "
                            "of no use.",
                            tensor=name,
                            name=title,
                        )
                    if path == folder / WEIGHTS:
                        found[name] = tuple(tensor.shape)
        except (SafetensorError, ValueError, OSError) as error:
            raise StudioError(
                "{file} of {name} is damaged or not safetensors ({detail}); get it again.",
                file=path.name,
                name=title,
                detail=str(error)[:120],
            ) from error
    if not found:
        raise StudioError("{file} of {name} holds no tensors.", file=WEIGHTS, name=title)
    return found


def _base(config: dict, given: str | None) -> tuple[str, str | None]:
    """(name of the base model, revision): what the person says, else what the configuration says, if it is known.

    Known are the starter models, the catalogue, hub models that are downloaded, and folders of this machine.
    """
    stored = str(config.get("base_model_name_or_path") or "")
    name = (given or "").strip() or stored
    revision = config.get("revision") if name == stored and is_hub_id(name) else None
    if given and given.strip() and is_hub_id(name):
        return name, revision
    try:
        known = bool(name) and (catalogue_entry(name) is not None or local_folder(name, revision) is not None)
    except StudioError:
        known = False
    if not known:
        raise StudioError(
            "The base model of this adapter ('{base}') is not known here. Name it under Base model (starter, a hub id, "
            "or a folder), and import again.",
            base=name or "–",
        )
    return name, revision


def _fits_itself(config: dict, tensors: dict[str, tuple[int, ...]], title: str) -> None:
    """Raise StudioError where the matrices of a LoRA have another rank than its configuration says."""
    if config["peft_type"] != "LORA" or config.get("rank_pattern"):
        return
    for tensor, size in tensors.items():
        if tensor.endswith(".lora_A.weight") and size[0] != config.get("r", 8):
            raise StudioError(
                "The files of {name} do not belong together: {file} says r = {rank}, and {tensor} has the rank {has}.",
                name=title,
                file=CONFIG,
                rank=config.get("r", 8),
                tensor=tensor.removeprefix(_PREFIX),
                has=size[0],
            )


def _fits_base(name: str, revision: str | None, config: dict, tensors: dict[str, tuple[int, ...]]) -> None:
    """Raise StudioError where a tensor has no layer in the base model, or another size than its layer.

    Does nothing if the base model is not on this machine. The size is checked for LoRA and prompts; other types are
    only checked for the layers that they name.
    """
    folder = local_folder(name, revision)
    if folder is None:
        return
    stored = stored_tensors(folder)
    now = loaded_names(stored)
    sizes = {now[key]: size for key, (size, _) in stored.items()}
    layers = {name.rpartition(".")[0] for name in sizes}
    known = {".".join(layer.split(".")[:at]) for layer in layers for at in range(1, layer.count(".") + 2)}
    trained = tuple(config.get("modules_to_save") or ())
    wide = read_config(folder)
    for tensor, size in tensors.items():
        if not tensor.startswith(_PREFIX):
            _check_prompt(tensor, size, wide, name)
            continue
        path = tensor.removeprefix(_PREFIX)
        if any(part in path.split(".") for part in (*trained, "score", "classifier")):
            continue
        parts = path.split(".")
        least = next((at + 1 for at, part in enumerate(parts) if part.isdigit()), 1)  # the layer's number belongs to it
        layer = next(
            (".".join(parts[:at]) for at in range(len(parts) - 1, least - 1, -1) if ".".join(parts[:at]) in known), None
        )
        if layer is None:
            raise StudioError(
                "The adapter does not fit {base}: its tensor {tensor} belongs to a layer that this model does not "
                "have. Name the base model that it was trained over.",
                base=name,
                tensor=path,
            )
        _check_lora(path, layer, size, sizes.get(f"{layer}.weight"), name)


def _check_lora(path: str, layer: str, size: tuple, weight: tuple | None, base: str) -> None:
    """Compare a LoRA matrix with the weight of its layer; Conv1D layers (GPT-2) store theirs transposed."""
    rest = path.removeprefix(f"{layer}.")
    if weight is None or len(weight) != 2 or len(size) != 2:
        return
    has = size[1] if rest == "lora_A.weight" else size[0] if rest == "lora_B.weight" else None
    if has is not None and has not in weight:
        raise StudioError(
            "The adapter does not fit {base}: {tensor} is made for a width of {has}, and the layer is {rows} × "
            "{columns}. Name the base model that it was trained over.",
            base=base,
            tensor=path,
            has=has,
            rows=weight[0],
            columns=weight[1],
        )


def _check_prompt(tensor: str, size: tuple, config: dict, base: str) -> None:
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    width = text.get("hidden_size") or text.get("n_embd")
    if tensor == "prompt_embeddings" and width and len(size) == 2 and size[1] % 2 == 0 and size[1] != width:
        layers = text.get("num_hidden_layers") or text.get("n_layer") or 1
        if size[1] % (2 * layers):  # neither a prompt (width) nor a prefix (2 · layers · width of keys)
            raise StudioError(
                "The adapter does not fit {base}: its virtual tokens are {has} wide, and the model {width}. Name the "
                "base model that it was trained over.",
                base=base,
                has=size[1],
                width=width,
            )


def _recipe(folder: Path, config: dict, base: str) -> dict | None:
    """The recipe beside the adapter, which the studio's own zips hold, if it is valid and of this type; else None."""
    path = folder / "recipe.yaml"
    if not path.exists():
        return None
    try:
        recipe = recipe_from_yaml(path.read_text(encoding="utf-8"), "recipe.yaml").to_dict()
    except (StudioError, OSError, ValueError):  # made by another version, or not by the studio: of no use, no harm
        return None
    finally:
        path.unlink()
    if METHODS[recipe["method"]["name"]].artefact_type != config["peft_type"]:
        return None
    recipe["model"] = {**recipe["model"], "name": base, "adapter": None}
    return recipe


def _method(config: dict, recipe: dict | None) -> str | None:
    """The studio's method that makes adapters like this one; None if several could have."""
    if recipe:
        return recipe["method"]["name"]
    if config["peft_type"] == "LORA":
        return "dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora"
    found = [name for name, cls in METHODS.items() if cls.artefact_type == config["peft_type"]]
    return found[0] if len(found) == 1 else None


def _summary(config: dict, method: str | None, recipe: dict | None) -> str:
    if recipe:
        cls = METHODS[recipe["method"]["name"]]
        return cls.model_validate(recipe["method"]).summary()
    title = METHODS[method].title if method else config["peft_type"]
    return f"{title} r={config['r']}" if isinstance(config.get("r"), int) else title


def _classes(config: dict, tensors: dict, recipe: dict | None, title: str) -> dict:
    """The card's fields of a classifier. The configuration names no labels, so they get transformers' own names."""
    if config.get("task_type") != "SEQ_CLS":
        return {}
    head = next((size for name, size in tensors.items() if name.endswith(("score.weight", "classifier.weight"))), None)
    if head is None or (recipe and recipe["task"]["name"] == "multitask"):
        raise StudioError(
            "{name} is a classifier whose labels are not in its files, so its answers would have no names; import a "
            "chat or text adapter, or train it here.",
            name=title,
        )
    task = recipe["task"]["name"] if recipe else "classification"
    multi = bool(recipe and recipe["task"].get("multi_label"))
    return {"labels": [f"LABEL_{at}" for at in range(head[0])], "multi_label": multi, "task": task}


def _count(size: tuple[int, ...]) -> int:
    count = 1
    for side in size:
        count *= side
    return count

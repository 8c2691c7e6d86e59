"""Export an adapter as a zip in peft's format, or merged into its base model (the `export` job).

`zip_adapter` needs no torch; the window calls it. In a zip the base model has its public name, and absolute paths of
this machine are reduced to their last part. Independent of how an adapter was fine-tuned.
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

from studio.home import Home
from studio.library import lineage, shelf
from studio.library.card import model_card, public, public_name
from studio.methods import METHODS
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.resolve import resolve_folder
from studio.models.rope_scaling import apply_adapter
from studio.options import check
from studio.store import Store
from studio.words import Sentence, StudioError

_ADAPTER_FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "rope.json",
    "subspace.safetensors",
}
_MODEL_FILES = {".safetensors", ".json", ".jinja"}
_TEXT_FILES = {"tokenizer.model", "merges.txt", "vocab.txt"}
_OTHER_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
    "generation_config.json",
    "preprocessor_config.json",
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # fixed timestamp, so that the same files give the same zip


def zip_adapter(home: Home, store: Store, adapter_id: str, folder: Path) -> Path:
    """Pack the adapter (or merged model) into a zip in `folder`, with README.md and recipe.yaml; returns its path.

    The same adapter gives the same bytes. Raises StudioError if the adapter is not in the library or the disk is full.
    """
    source, card, name = shelf.find(home, store, adapter_id)
    slug = re.sub(r"[^\w\-]+", "-", name).strip("-_")[:60] or "adapter"
    target = Path(folder) / f"{slug}-{adapter_id}.zip"
    handle, half = tempfile.mkstemp(dir=folder, suffix=".half")
    os.close(handle)
    try:
        with zipfile.ZipFile(half, "w", allowZip64=True) as archive:
            _put_text(archive, "README.md", model_card(name, card))
            if card.get("recipe"):
                _put_text(
                    archive, "recipe.yaml", yaml.safe_dump(public(card["recipe"]), sort_keys=False, allow_unicode=True)
                )
            for path in _to_take(source, whole=card.get("kind") == "model"):
                _put_file(archive, path, path.relative_to(source).as_posix(), card.get("base", ""))
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


def _to_take(source: Path, *, whole: bool) -> list[Path]:
    """The files that peft or transformers needs, in a fixed order; those of the members of an ensemble included."""
    files = sorted(path for path in source.iterdir() if path.is_file() and path.name != shelf.CARD)
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


def merge_refusal(card: dict) -> Sentence | None:
    """The reason why an adapter cannot be merged into its base model; None if it can."""
    if card.get("kind") == "model":
        return Sentence("This is a whole model already; there is nothing to merge.")
    cls = METHODS.get(card.get("method", ""))
    if cls is None:
        return None
    options = (card.get("recipe") or {}).get("method")
    made = check(cls, options)[0] if isinstance(options, dict) else None
    return (made or cls()).merge_refusal()


def export(job) -> dict:
    """The `export` job: merge an adapter into its base model and add the result to the library as ID-merged.

    Payload: {"adapter": id, "what": "merged", "precision": "fp32" (default) | "bf16" | "fp16"}. The base is loaded in
    fp32, never in 4 bit (FACTS 14). Returns {"adapter": new id, "difference": largest absolute difference of the logits
    of the adapter and the merged model on a fixed input}. Raises StudioError where the method cannot be merged, the
    adapter is not in the library or the disk has too little space.
    """
    adapter_id, precision = job.payload["adapter"], job.payload.get("precision", "fp32")
    source, card, name = shelf.find(job.home, job.store, adapter_id)
    refusal = merge_refusal(card)
    if refusal:
        raise StudioError(refusal)
    folder = resolve_folder(card["base"], card.get("revision"))
    _room_for(job.home, folder, precision)
    half = Path(tempfile.mkdtemp(prefix=".half-merge-", dir=job.home.root / "adapters"))
    try:
        difference = _merge(job, folder, source, half, precision, card)
        job.doing(Sentence("Adding the merged model to the library"))
        bits = {"fp32": "32 bit", "bf16": "16 bit", "fp16": "16 bit"}[precision]
        merged = {
            **card,
            "kind": "model",
            "ships_as": "model",
            "summary": f"{card.get('summary', '')}, merged in {bits}",
            "parents": [lineage.parent(adapter_id, name, "merged")],
            "difference": difference,
        }
        merged.pop("finished", None)
        new_id = shelf.add(
            job.home,
            job.store,
            source=half,
            name=f"{name[:100]} (merged)",
            run_id=None,
            card=merged,
            adapter_id=f"{adapter_id}-merged",
        )
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return {"adapter": new_id, "difference": difference}


def _merge(job, base_folder: Path, adapter: Path, target: Path, precision: str, card: dict) -> float:
    """Write the merged model to `target`; returns the largest absolute difference of its logits from the adapter's."""
    import torch

    from studio.models.load import compute_dtype, load_base
    from studio.models.text_part import restore_other_parts

    job.doing(Sentence("Loading the base model"))
    pictures = card.get("task") == "image"
    head = "causal_lm" if "labels" not in card else "image_classification" if pictures else "text_classification"
    model = apply_adapter(
        load_base(
            base_folder, quantisation="none", precision="fp32", device="cpu", head=head, labels=card.get("labels")
        ),
        adapter,
    ).eval()
    if pictures:
        size = model.config.image_size
        probe = {"pixel_values": torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)}
    else:
        tokenizer = ChatTokenizer(base_folder)
        probe = {
            "input_ids": torch.tensor([tokenizer.encode("The quick brown fox jumps over the lazy dog. 12 + 30 =").ids])
        }
        if "labels" in card:
            model.config.get_text_config().pad_token_id = tokenizer.pad_id
    with torch.no_grad():
        before = model(**probe).logits
        job.doing(Sentence("Merging"))
        if job.stop_requested():
            from studio.jobs.job import Stopped

            raise Stopped
        merged = model.merge_and_unload(safe_merge=True).to(compute_dtype(precision, "cpu"))
        difference = float((merged(**probe).logits.float() - before).abs().max())
    restore_other_parts(merged).save_pretrained(target)
    for pattern in _OTHER_TOKENIZER_FILES:
        for path in base_folder.glob(pattern):
            shutil.copyfile(path, target / path.name)
    if (adapter / "chat_template.jinja").exists():
        shutil.copyfile(adapter / "chat_template.jinja", target / "chat_template.jinja")
    return difference


def _room_for(home: Home, base: Path, precision: str) -> None:
    """Raise StudioError unless the merged model and its temporary copy fit on the disk."""
    copies = 4 if precision == "fp32" else 2  # fp32 weights made from 16-bit ones are twice as large
    needed = copies * sum(path.stat().st_size for path in base.glob("*.safetensors"))
    if home.free_bytes() < needed:
        raise StudioError(
            "The merged model needs {needed} GB on the disk, but only {free} GB are free; "
            "free some space and try again.",
            needed=round(needed / 1e9, 1),
            free=round(home.free_bytes() / 1e9, 1),
        )

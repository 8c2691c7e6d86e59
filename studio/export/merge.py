"""Merge an adapter into its base model and write it as safetensors. Used in workers only.

The base is loaded in fp32, never in 4 bit (FACTS 14); the merged weights are rounded once, at the end.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from studio.export import live
from studio.export.proof import Reader, compare
from studio.export.source import Source
from studio.export.work import Work
from studio.models.model_types import loader
from studio.words import Sentence

if TYPE_CHECKING:
    import numpy as np
    import torch

COMPANION_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
    "generation_config.json",
    "preprocessor_config.json",
)
"""Files of a base model, besides its weights and config, that its merged model needs too."""


def write(work: Work) -> None:
    """Write the merged model and its tokenizer to the work's folder, in the dtype and shards of its options."""
    from studio.models.text_part import restore_other_parts

    source, options = work.source, work.options
    work.need_space(_bytes(source, options.dtype))
    with Reader() as reader:
        model, inputs, before = merged(work)
        rounded = round_weights(model, options.dtype)
        after = live.logits(model, inputs)
        work.step(0.5, Sentence("Writing the weights"))
        restore_other_parts(model.to(rounded)).save_pretrained(work.folder, max_shard_size=f"{options.shard_gb}GB")
        copy_companions(source, work.folder)
        del model
        work.step(0.8, Sentence("Reading it back in a fresh process and comparing the logits"))
        found = reader.logits(model_request(source, work.folder), inputs)
        work.proofs.append(compare(found, before, after, form=options.dtype, reader="transformers"))


def merged(work: Work) -> tuple[torch.nn.Module, list[dict], list[np.ndarray]]:
    """(merged model in fp32, the fixed inputs, the adapter's logits for them before merging)."""
    work.step(0.05, Sentence("Loading the base model"))
    model = live.load(work.source)
    inputs = live.inputs(work.source, model)
    work.step(0.2, Sentence("Asking the adapter, to compare it later"))
    before = live.logits(model, inputs)
    if not work.source.whole:
        work.step(0.3, Sentence("Merging"))
        model = model.merge_and_unload(safe_merge=True)
    return model, inputs, before


def round_weights(model: torch.nn.Module, dtype: str) -> torch.dtype:
    """Round the weights of a model in fp32 in place to `dtype`; they stay fp32. Returns torch's dtype."""
    import torch

    from studio.models.load import compute_dtype

    wanted = compute_dtype(dtype, "cpu")
    if wanted != torch.float32:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.is_floating_point():
                    weight.copy_(weight.to(wanted).float())
    return wanted


def copy_companions(source: Source, folder: Path) -> None:
    """Copy the tokenizer and what belongs to it to `folder`, with the chat template of the adapter's training."""
    for pattern in COMPANION_FILES:
        for path in source.model_folder.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    own = source.folder / "chat_template.jinja"
    if own.exists():
        shutil.copyfile(own, folder / own.name)


def auto_class(source: Source) -> str:
    """The class of transformers that loads the model of `source`."""
    from studio.models.load import HEADS

    return loader(source.model_config.get("model_type")) if source.head == "causal_lm" else HEADS[source.head]


def model_request(source: Source, folder: Path) -> dict:
    """The request to read a whole model in `folder` back, for `Reader.logits`."""
    return {"kind": "model", "folder": str(folder), "auto": auto_class(source)}


def _bytes(source: Source, dtype: str) -> int:
    """Bytes that the merged model and its copy for the library need."""
    stored = sum(path.stat().st_size for path in source.model_folder.glob("*.safetensors"))
    return (4 if dtype == "fp32" else 2) * stored  # fp32 weights made from 16-bit ones are twice as large

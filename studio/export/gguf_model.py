"""Write the merged model as one GGUF file, with a Modelfile for Ollama where asked for. Used in workers only."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from studio.export import live, ollama
from studio.export.archive import slug
from studio.export.gguf_architectures import (
    ARCHITECTURES,
    Architecture,
    add_metadata,
    gguf_name,
    rope_factors,
    transformed,
)
from studio.export.gguf_tokenizer import add_tokenizer
from studio.export.gguf_write import FORMATS, Entry, check_tensors, format_of, rounded, write_tensors
from studio.export.merge import merged
from studio.export.proof import Reader, compare
from studio.export.source import Source
from studio.export.work import Work
from studio.library.card import public_name
from studio.models.chat_tokenizer import ChatTokenizer
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import numpy as np
    import torch


def write(work: Work) -> None:
    """Write NAME-FORMAT.gguf, and Modelfile, to the work's folder."""
    options = work.options
    work.need_space(4 * sum(path.stat().st_size for path in work.source.model_folder.glob("*.safetensors")))
    path = work.folder / f"{slug(work.source.name)}-{options.format}.gguf"
    with Reader() as reader:
        model, inputs, before = merged(work)
        prove_gguf(work, reader, model, inputs, before, path)
    if options.modelfile:
        ollama.write(work.source, work.folder, model=f"./{path.name}")


def prove_gguf(work: Work, reader: Reader, model: torch.nn.Module, inputs: list, before: list, path: Path) -> None:
    """Write `model` (whole, fp32) to `path`, and compare the file with it; its weights are rounded on the way."""
    source, form = work.source, work.options.format
    work.step(0.35, Sentence("Writing the GGUF file"))
    write_file(source, model, path, form, partial(work.each, first=0.35, last=0.6))
    entries = entries_of(source, model, form)
    work.step(0.6, Sentence("Comparing every tensor of the file with ours"))
    work.extra["largest_tensor_error"] = check_tensors(path, entries, partial(work.each, first=0.6, last=0.7))
    work.step(0.7, Sentence("Rounding the weights here in the same way"))
    round_like(source, model, form)
    after = live.logits(model, inputs)
    model.config.save_pretrained(work.folder / "config")
    model.to("meta")  # the reading process needs the memory
    work.step(0.8, Sentence("Reading it back in a fresh process and comparing the logits"))
    request = {
        "kind": "gguf",
        "folder": str(path.parent),
        "file": path.name,
        "config": str(work.folder / "config"),
        "auto": "AutoModelForCausalLM",
    }
    work.proofs.append(
        compare(reader.logits(request, inputs), before, after, form=form, reader="transformers and gguf")
    )
    (work.folder / "config" / "config.json").unlink()
    (work.folder / "config").rmdir()


def write_file(source: Source, model: torch.nn.Module, path: Path, form: str, each) -> None:
    """Write the weights of `model`, its sizes and its tokenizer to `path` in the format `form`."""
    from gguf import GGUFWriter, LlamaFileType

    architecture, config = ARCHITECTURES[source.architecture], model.config.get_text_config()
    writer = GGUFWriter(path, architecture.name)
    writer.add_type("model")
    # llama.cpp reads tokenizers of models named "phi-3" in another way, so the name is the base's, not a person's own.
    writer.add_name(public_name(source.card.get("base", "")))
    writer.add_finetune(source.name)
    writer.add_file_type(LlamaFileType[FORMATS[form]])
    writer.add_quantization_version(2)
    add_metadata(writer, architecture, config)
    tokenizer = ChatTokenizer(source.model_folder).for_adapter(None if source.whole else source.folder)
    add_tokenizer(writer, tokenizer, config.vocab_size)
    write_tensors(writer, entries_of(source, model, form), each)


def entries_of(source: Source, model: torch.nn.Module, form: str) -> list[Entry]:
    """The tensors of the file, in the order of the model. Raises StudioError for one that llama.cpp does not know."""
    architecture, config = ARCHITECTURES[source.architecture], model.config.get_text_config()
    entries = []
    for name, gguf, weight in named_weights(model, architecture):
        if gguf is None:
            raise unknown_tensor(name, architecture)
        shape = tuple(weight.shape)
        load = partial(_loaded, weight, gguf, architecture, config)
        entries.append(Entry(gguf, shape, load, format_of(gguf, shape, form)))
    if (factors := rope_factors(config)) is not None:
        entries.append(Entry("rope_freqs.weight", factors.shape, lambda: factors, "F32"))
    return entries


def unknown_tensor(name: str, architecture: Architecture) -> StudioError:
    """The error for a tensor or module that has no place in llama.cpp's model."""
    return StudioError(
        "llama.cpp's {architecture} has no tensor for {name}.", architecture=architecture.name, name=name
    )


def named_weights(model: torch.nn.Module, architecture: Architecture):
    """(name in transformers, name in llama.cpp or None, weight) of each weight that is stored once."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    key = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = get_tensor_name_map(key, model.config.get_text_config().num_hidden_layers)
    for name, weight in model.named_parameters():  # tied weights once
        yield name, gguf_name(name, names), weight


def _loaded(weight: torch.Tensor, name: str, architecture: Architecture, config) -> np.ndarray:
    return transformed(name, weight.detach().float().numpy(), architecture, config)


def round_like(source: Source, model: torch.nn.Module, form: str) -> None:
    """Round the weights of `model` in place as the format does. Blocks lie within rows, so their order is no matter."""
    import torch

    with torch.no_grad():
        for _, name, weight in named_weights(model, ARCHITECTURES[source.architecture]):
            kind = format_of(name, tuple(weight.shape), form)
            if kind != "F32":
                weight.copy_(torch.from_numpy(rounded(weight.detach().float().numpy(), kind)))

"""Write a LoRA alone as GGUF, for llama.cpp's `--lora` and Ollama's ADAPTER. Used in workers only.

llama.cpp adds scale · alpha / rank · B A to a weight, with one alpha for the file and the rank of each B. Whatever
scales a layer otherwise (rsLoRA, rank and alpha patterns) is multiplied into its B.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from studio.export import live, ollama
from studio.export.archive import slug
from studio.export.gguf_architectures import ARCHITECTURES, gguf_name, permuted, permuted_heads
from studio.export.gguf_model import prove_gguf, unknown_tensor
from studio.export.gguf_write import FORMATS, Entry, check_tensors, rounded, write_tensors
from studio.export.lora_checks import scalings
from studio.export.merge import auto_class
from studio.export.proof import Reader, compare
from studio.export.source import WEIGHTS, Source
from studio.export.work import Work
from studio.library.card import public_name
from studio.words import Sentence


def write(work: Work) -> None:
    """Write NAME-lora-FORMAT.gguf and, where asked for, the base model as GGUF and a Modelfile."""
    source, options = work.source, work.options
    path = work.folder / f"{slug(source.name)}-lora-{options.format}.gguf"
    with Reader() as reader:
        work.step(0.05, Sentence("Loading the base model"))
        model = live.load(source)
        inputs = live.inputs(source, model)
        before = live.logits(model, inputs)
        base = model.unload()
        work.step(0.2, Sentence("Writing the GGUF file"))
        entries = _entries(source, base.config.get_text_config(), options.format)
        _write_file(source, path, entries, options.format)
        work.extra["largest_tensor_error"] = check_tensors(path, entries, partial(work.each, first=0.2, last=0.25))
        work.step(0.3, Sentence("Reading it back in a fresh process and comparing the logits"))
        request = {
            "kind": "gguf_lora",
            "folder": str(work.folder),
            "file": path.name,
            "base": str(source.base_folder),
            "auto": auto_class(source),
        }
        found = reader.logits(request, inputs)
        after = _rounded_logits(source, base, options.format, inputs) if options.format != "F32" else before
        work.proofs.append(compare(found, before, after, form=options.format, reader="gguf and transformers"))
        if options.base != "none":
            _write_base(work, reader, base, inputs)
    if options.modelfile:
        given = f"./{_base_name(source, options.base)}" if options.base != "none" else options.ollama_base
        ollama.write(source, work.folder, model=given, adapter=f"./{path.name}")


def _base_name(source: Source, form: str) -> str:
    return f"{slug(public_name(source.card.get('base', '')))}-{form}.gguf"


def _write_base(work: Work, reader: Reader, base, inputs: list) -> None:
    """Write the base model beside the LoRA, proven like any whole model."""
    source = work.source
    whole = Source(
        source.adapter_id, public_name(source.card["base"]), source.base_folder, {**source.card, "kind": "model"}
    )
    work_on_base = Work(work.job, whole, work.options.model_copy(update={"format": work.options.base}), work.folder)
    path = work.folder / _base_name(source, work.options.base)
    prove_gguf(work_on_base, reader, base, inputs, live.logits(base, inputs), path)
    work.proofs += work_on_base.proofs


def _entries(source: Source, config, form: str) -> list[Entry]:
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from safetensors.torch import load_file

    architecture = ARCHITECTURES[source.architecture]
    key = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = get_tensor_name_map(key, config.num_hidden_layers)
    tensors = load_file(source.folder / WEIGHTS)
    alpha, entries = _file_alpha(source), []
    for module, scaling in scalings(source).items():
        name = gguf_name(f"{module}.weight", names)
        if name is None:
            raise unknown_tensor(module, architecture)
        a = tensors[f"base_model.model.{module}.lora_A.weight"].float().numpy()
        b = tensors[f"base_model.model.{module}.lora_B.weight"].float().numpy()
        b = b * (scaling * b.shape[1] / alpha)
        if heads := permuted_heads(name, architecture, config):
            b = permuted(b, heads)
        for kind, tensor in (("lora_a", a), ("lora_b", b)):
            entries.append(Entry(f"{name}.{kind}", tensor.shape, lambda tensor=tensor: tensor, form))
    return entries


def _file_alpha(source: Source) -> float:
    """The alpha of the whole file; any number but 0 would do, as each B makes up for it."""
    return float(source.adapter_config["lora_alpha"]) or 1.0


def _write_file(source: Source, path: Path, entries: list[Entry], form: str) -> None:
    from gguf import GGUFWriter, LlamaFileType

    writer = GGUFWriter(path, ARCHITECTURES[source.architecture].name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_name(source.name)
    writer.add_file_type(LlamaFileType[FORMATS[form]])
    writer.add_quantization_version(2)
    writer.add_float32("adapter.lora.alpha", _file_alpha(source))
    write_tensors(writer, entries, lambda items, _: items)


def _rounded_logits(source: Source, base, form: str, inputs: list) -> list:
    """The logits of `base` with B A of equally rounded matrices added; `base` is restored."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(source.folder / WEIGHTS)
    alpha, kept = _file_alpha(source), {}
    with torch.no_grad():
        for module, scaling in scalings(source).items():
            weight = base.get_submodule(module).weight
            kept[module] = weight.clone()
            a, b = (tensors[f"base_model.model.{module}.lora_{side}.weight"].float() for side in "AB")
            b = b * (scaling * b.shape[1] / alpha)
            a, b = (torch.from_numpy(rounded(matrix.numpy(), form)) for matrix in (a, b))
            weight += alpha / b.shape[1] * (b @ a)
        found = live.logits(base, inputs)
        for module, weight in kept.items():
            base.get_submodule(module).weight.copy_(weight)
    return found

"""Write an adapter as a zip in peft's format, and read the zip back. Used in workers only."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from studio.export import live
from studio.export.archive import write_zip
from studio.export.merge import auto_class, model_request
from studio.export.proof import Reader, compare
from studio.export.source import Source
from studio.export.work import Work
from studio.words import Sentence


def write(work: Work) -> None:
    """Write the zip to the work's folder."""
    with Reader(work.source.own_type) as reader:
        work.step(0.1, Sentence("Packing the files"))
        path = write_zip(work.source, work.folder)
        prove_zip(work, reader, path)


def prove_zip(work: Work, reader: Reader, path: Path) -> None:
    """Unpack the zip at `path`, read it back, and add the proof to the work's."""
    source = work.source
    work.step(0.4, Sentence("Loading the base model"))
    model = live.load(source)
    inputs = live.inputs(source, model)
    before = live.logits(model, inputs)
    del model
    work.step(0.7, Sentence("Reading it back in a fresh process and comparing the logits"))
    with tempfile.TemporaryDirectory(dir=work.folder) as unpacked:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
        found = reader.logits(adapter_request(source, Path(unpacked)), inputs)
    tool = "transformers" if source.whole else "peft and studio.tuners" if source.own_type else "peft"
    work.proofs.append(compare(found, before, before, form="fp32", reader=tool))


def adapter_request(source: Source, folder: Path) -> dict:
    """The request to read the unpacked adapter, or whole model, in `folder` back, for `Reader.logits`."""
    if source.whole:
        return model_request(source, folder)
    return {
        "kind": "adapter",
        "folder": str(folder),
        "base": str(source.base_folder),
        "auto": auto_class(source),
        "labels": source.card.get("labels"),
    }

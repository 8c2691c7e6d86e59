"""The jobs `blend`, `convert` and `switch`: adapters of the library in, a preview or a merged model out.

Blends and conversions become previews (`studio.library.previews`), which Chat can answer with before they are saved. A
preview's card holds `parents`, what it was made from, and `made`, how and with which error.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.jobs.job import Job
from studio.library import adapter_store, lineage, previews
from studio.merging import blend as blending
from studio.merging import convert as converting
from studio.merging.lora_delta import Approximation, total_error
from studio.models.resolve import resolve_folder
from studio.options import require_valid
from studio.words import Sentence, StudioError

_INHERITED = ("base", "revision", "task", "loader", "rope", "data", "rows", "labels", "multi_label", "sets")
"""Keys of a card that hold for what is made of its adapter too."""


def blend(job: Job) -> dict:
    """The `blend` job. payload: {"adapters": [id], "weights": [float], "method": {"name", options}}. Returns
    {"preview": id}.

    The same payload gives the same preview at once, if it is still there. Raises StudioError where the adapters cannot
    be blended.
    """
    ids, weights = job.payload["adapters"], job.payload["weights"]
    method = job.payload["method"]
    how = require_valid(blending.METHODS[method["name"]], method)
    parts = [adapter_store.find(job.home, job.store, adapter) for adapter in ids]
    named = [(name, folder, card) for folder, card, name in parts]
    if refusal := blending.refusal(named, weights):
        raise StudioError(refusal)
    preview = _preview_id(job)
    if job.store.adapter(preview):
        return {"preview": preview}
    with _half_made(job) as half:
        layers = blending.blend(
            [(name, folder) for name, folder, _ in named], weights, how, half, _progress(job, "Blending")
        )
        card = {
            **_inherited(parts[0][1]),
            "data": ", ".join(dict.fromkeys(str(card.get("data", "?")) for _, card, _ in parts)),
            "rows": sum(card.get("rows") or 0 for _, card, _ in parts),
            **_lora_card(layers),
            "summary": f"blend ({how.summary()})",
            "parents": [
                {**lineage.parent(adapter, name, "blended"), "weight": weight}
                for adapter, (_, _, name), weight in zip(ids, parts, weights, strict=True)
            ],
            "made": {"by": "blend", "method": how.model_dump(), **_errors(layers)},
        }
        name = " + ".join(f"{weight:g} {name}" for (_, _, name), weight in zip(parts, weights, strict=True) if weight)
        previews.add(job.home, job.store, source=half, name=_short(name), card=card, preview=preview)
    return {"preview": preview}


def convert(job: Job) -> dict:
    """The `convert` job. payload: {"adapter": id, "options": {…}}. Returns {"preview": id}, whose card's `made` also
    holds the `fidelity`.

    Raises StudioError where a LoRA cannot hold what the adapter changes.
    """
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    adapter = job.payload["adapter"]
    options = require_valid(converting.ConvertOptions, job.payload["options"])
    source, card, name = adapter_store.find(job.home, job.store, adapter)
    if refusal := converting.refusal(source, card, name):
        raise StudioError(refusal)
    preview = _preview_id(job)
    if job.store.adapter(preview):
        return {"preview": preview}
    base = resolve_folder(card["base"], card.get("revision"))
    head = _head(card)

    def loaded():
        job.check_stop()
        return load_base(
            base, quantisation="none", precision="fp32", device="cpu", head=head, labels=card.get("labels")
        )

    with _half_made(job) as half:
        measured = _Fidelity(job, base, source, card, adapter)
        job.doing(Sentence("Asking the base model"))
        model = loaded()
        before = measured.answers(model)
        job.doing(Sentence("Asking the adapter"))
        model = apply_adapter(model, source)
        wanted = measured.answers(model)
        layers = converting.convert(model, source, name, options, half, _progress(job, "Converting"))
        del model
        job.doing(Sentence("Asking the LoRA"))
        made = measured.answers(apply_adapter(loaded(), half))
        made_card = {
            **_inherited(card),
            **_lora_card(layers),
            "summary": f"{card.get('summary') or card.get('method')}, as LoRA r={_highest_rank(layers)}",
            "parents": [lineage.parent(adapter, name, "converted")],
            "made": {
                "by": "convert",
                "options": options.model_dump(),
                **_errors(layers),
                "fidelity": measured.compare(before, wanted, made),
            },
        }
        previews.add(job.home, job.store, source=half, name=_short(f"{name} (LoRA)"), card=made_card, preview=preview)
    return {"preview": preview}


def switch(job: Job) -> dict:
    """The `switch` job: replace the adapter of a merged model. payload: {"model": id, "adapter": id}. Returns {"model":
    id, "drift", "changed"}, see `task_switch.Switch`.

    The model keeps its id and folder, so that programs that load it get the new task. Raises StudioError where the two
    do not fit.
    """
    from studio.merging.task_switch import switch_task

    model_id, adapter = job.payload["model"], job.payload["adapter"]
    folder, card, _ = adapter_store.find(job.home, job.store, model_id)
    new, new_card, new_name = adapter_store.find(job.home, job.store, adapter)
    if refusal := switch_refusal(card, adapter, new_card, new_name):
        raise StudioError(refusal)
    old = adapter_store.find(job.home, job.store, lineage.merged_adapter(card))[0]

    def doing(sentence: Sentence) -> None:
        job.check_stop()
        job.doing(sentence)

    with _half_made(job) as half:
        base = resolve_folder(card["base"], card.get("revision"))
        found = switch_task(folder, base, old, new, half, card, doing)
        merged = {
            **{key: card[key] for key in ("kind", "artefact_type", "base") if key in card},
            **{
                key: value
                for key, value in new_card.items()
                if key not in ("kind", "artefact_type", "finished", "bytes")
            },
            "summary": f"{new_card.get('summary', '')}, merged",
            "parents": [lineage.parent(adapter, new_name, "merged")],
        }
        adapter_store.add(
            job.home,
            job.store,
            source=half,
            name=f"{new_name[:100]} (merged)",
            run_id=None,
            card=merged,
            adapter_id=model_id,
        )
    return {"model": model_id, "drift": found.drift, "changed": found.changed}


def switch_refusal(card: dict, adapter: str, new_card: dict, new_name: str) -> Sentence | None:
    """Why a merged model with this card cannot become that of the adapter; None if it can. Imports no torch."""
    if not lineage.merged_adapter(card):
        return Sentence("Only a model that the studio has merged from an adapter can switch its task.")
    if new_card.get("kind") == "model":
        return Sentence("“{name}” is a whole model; choose an adapter.", name=new_name)
    if adapter == lineage.merged_adapter(card):
        return Sentence("“{name}” is the adapter that the model was merged from.", name=new_name)
    same = [(one.get("base"), one.get("revision"), one.get("labels")) for one in (card, new_card)]
    if same[0] != same[1]:
        return Sentence("“{name}” belongs to another base model or has other classes.", name=new_name)
    return converting.unmergeable(new_card, new_name)


class _Fidelity:
    """The questions for an adapter, and what models answer to them."""

    def __init__(self, job: Job, base: Path, source: Path, card: dict, adapter: str):
        from studio.merging import fidelity

        self.fidelity, self.job, self.card = fidelity, job, card
        self.questions = fidelity.questions(job.home, job.store.adapter(adapter)["run_id"])
        self.tokenizer = fidelity.tokenizer_of(base, source, card)

    def answers(self, model):
        if self.tokenizer and "labels" in self.card:
            model.config.get_text_config().pad_token_id = self.tokenizer.pad_id
        return self.fidelity.answers(model, self.tokenizer, self.card, self.questions, self.job.check_stop)

    def compare(self, *answers) -> dict:
        return self.fidelity.compare(*answers, self.questions, pictures=self.tokenizer is None)


def _head(card: dict) -> str:
    if "labels" not in card:
        return "causal_lm"
    return "image_classification" if card.get("task") == "image" else "text_classification"


def _preview_id(job: Job) -> str:
    """An id that only jobs of this kind with this payload share."""
    text = json.dumps([job.kind, job.payload], sort_keys=True)
    return previews.preview_id(hashlib.sha256(text.encode()).hexdigest()[:16])


@contextmanager
def _half_made(job: Job) -> Iterator[Path]:
    """A folder beside the previews that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=".half-", dir=job.home.root / "previews"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _progress(job: Job, verb: str):
    def progress(done: int, count: int) -> None:
        job.check_stop()
        job.doing(Sentence("{verb}: layer {done} of {count}", verb=Sentence(verb), done=done, count=count))

    return progress


def _inherited(card: dict) -> dict:
    return {key: card[key] for key in _INHERITED if key in card}


def _lora_card(layers: dict[str, Approximation]) -> dict:
    tensors = [tensor for one in layers.values() for tensor in (one.factors.down, one.factors.up)]
    return {
        "kind": "adapter",
        "method": "lora",
        "artefact_type": "LORA",
        "parameters": sum(tensor.numel() for tensor in tensors),
    }


def _highest_rank(layers: dict[str, Approximation]) -> int:
    return max(one.factors.rank for one in layers.values())


def _errors(layers: dict[str, Approximation]) -> dict:
    """{"error": over all layers, "layers": [[name, rank, error]]}, relative ones."""
    return {
        "error": total_error(layers),
        "layers": [[layer, one.factors.rank, one.error] for layer, one in layers.items()],
    }


def _short(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:99]}…"

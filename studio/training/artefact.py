"""The artefact of a run: the files that are saved, checked by loading them again, and added to the library."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import torch

from studio.jobs.job import Job
from studio.library import adapter_store
from studio.methods import Method
from studio.models.model_types import loader
from studio.models.rope_scaling import read_rope_scaling
from studio.models.shape import read_config
from studio.models.text_part import restore_other_parts
from studio.recipe import Recipe
from studio.training import checks
from studio.training.kinds import Kind, TrainingData
from studio.words import Sentence


def save_with_logits(
    job: Job, kind: Kind, model: torch.nn.Module, material: TrainingData, folder: Path
) -> torch.Tensor:
    """Save the artefact of `model` to `folder`, replacing what is there; returns the logits that it must reproduce."""
    job.doing(Sentence("Saving and checking the adapter"))
    shutil.rmtree(folder, ignore_errors=True)
    expected = kind.probe(model, material)  # before saving, which casts a full model, buffers included, to 16 bit
    save(kind.recipe.method, model, folder, kind.base)
    kind.save_companion_files(folder)
    return expected


def check_reloaded(job: Job, kind: Kind, material: TrainingData, folder: Path, expected: torch.Tensor) -> None:
    """Load the artefact in `folder` and compare its logits with `expected`. The caller has freed the model before."""
    difference = checks.reloaded_logits_match(kind, folder, material, expected)
    job.log(Sentence("Reloaded from disk: logits differ by {difference:.1g} at most.", difference=difference))


def add_to_library(
    job: Job,
    kind: Kind,
    material: TrainingData,
    folder: Path,
    *,
    name: str,
    adapter_id: str,
    metrics: dict,
    parameters: int,
    seconds: float,
    facts: dict | None = None,
) -> str:
    """Add the artefact in `folder` to the library and return its id. facts: more entries for its card."""
    return adapter_store.add(
        job.home,
        job.store,
        source=folder,
        name=name,
        run_id=job.run_id,
        adapter_id=adapter_id,
        card={
            **card(
                kind.recipe, material, metrics, parameters=parameters, seconds=seconds, rope=read_rope_scaling(folder)
            ),
            "loader": loader(read_config(kind.base).get("model_type")),
            **kind.card(),
            **(facts or {}),
        },
    )


def finish_method(method: Method, model: torch.nn.Module, base: Path) -> None:
    """Bring the model into the form in which it will be saved, so that the evaluation measures the saved model."""
    if method.artefact_type == "model":
        round_to_16_bit(model)
    method.finish(model, base)


def round_to_16_bit(model: torch.nn.Module) -> None:
    """Round every parameter to its bfloat16 value, keeping its dtype, so that the evaluation measures the values that
    will be saved.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))


def save(method: Method, model, folder: Path, base: Path) -> None:
    """Save the method's artefact to `folder`; for full fine-tuning a complete model folder in bfloat16, with the base
    model's tokenizer or image processor files.
    """
    if method.artefact_type == "model":
        restore_other_parts(model.to(torch.bfloat16)).save_pretrained(folder)
        for path in base.iterdir():
            if path.name.startswith(
                (
                    "tokenizer",
                    "special_tokens",
                    "chat_template",
                    "vocab",
                    "merges",
                    "added_tokens",
                    "generation_config",
                    "preprocessor_config",
                )
            ):
                shutil.copyfile(path, folder / path.name)
    else:
        method.save(model, folder)


def card(
    recipe: Recipe, material: TrainingData, metrics: dict, *, parameters: int, seconds: float, rope: dict | None
) -> dict:
    """The metadata of an adapter in the library. seconds: duration of the run. rope: RoPE scaling that it was
    fine-tuned with, if any.
    """
    method = recipe.method
    return {
        "kind": "model" if method.artefact_type == "model" else "adapter",
        "method": method.name,
        "summary": method.summary(),
        "artefact_type": method.artefact_type,
        "base": recipe.model.name,
        "revision": recipe.model.revision,
        "task": recipe.task.name,
        "data": material.dataset.title,
        "rows": len(material.dataset.train),
        "metrics": metrics,
        "parameters": parameters,
        "seconds": round(seconds, 1),
        "rope": rope,
        "recipe": recipe.to_dict(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }

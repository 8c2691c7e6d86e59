"""The stages of a training run: recipe → data → base model → method → trainer → adapter in the library.

Runs in a worker process (the `train` job) or in the foreground (`python -m studio.training`). Every stage reports its
progress, can be stopped, and raises StudioError with a readable sentence. Independent of the page and of the job queue.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from studio.jobs.job import Job, Stopped
from studio.library import shelf
from studio.methods import Method, Setting
from studio.models.load import compute_dtype
from studio.models.model_types import loader
from studio.models.resolve import resolve_folder
from studio.models.rope_scaling import read_rope_scaling
from studio.models.shape import read_config, read_shape
from studio.models.text_part import restore_other_parts
from studio.recipe import Recipe, recipe_from
from studio.training import checks, initial
from studio.training.events import Events
from studio.training.kinds import Kind, TrainingData, kind_of
from studio.training.trainer import StudioTrainer, arguments, last_checkpoint
from studio.words import Sentence, StudioError


def train(job: Job) -> dict:
    """Run the `train` job. payload: {"resume": bool}. Returns {"adapter": id, "metrics": {...}}.

    Raises StudioError where the recipe does not fit the model, and Stopped where a stop was requested.
    """
    began = time.monotonic()
    row = job.store.run(job.run_id)
    recipe = recipe_from(row["recipe"])
    base = resolve_folder(recipe.model.name, recipe.model.revision)
    refusal = recipe.model_refusal(read_shape(base), base) or recipe.refusal(read_shape(base)) or recipe.conflict()
    if refusal:
        raise StudioError(refusal)
    folder = job.home.run(job.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    initial.keep_initial_adapter(job, recipe)
    kind = kind_of(job, recipe, base)
    material = prepared(job, kind)
    trainer = build(job, recipe, base, kind, material)
    learn(job, trainer, resume=bool(job.payload.get("resume")))
    return finish(job, row["name"], recipe, base, kind, material, trainer, began)


def prepared(job: Job, kind: Kind) -> TrainingData:
    """Prepare the examples. They are not part of a checkpoint: a resumed run prepares them again."""
    try:
        material = kind.prepare()
        job.check_stop()
    except Stopped:
        job.log(Sentence("Stopped while the data was being prepared; Resume prepares it anew."))
        raise
    return material


def build(job: Job, recipe: Recipe, base: Path, kind: Kind, material: TrainingData) -> StudioTrainer:
    """Load the base model, wrap it with the method and create the trainer; record the run's plan in the store."""
    job.doing(Sentence("Loading the base model"))
    training, machine, method, device = recipe.training, recipe.machine, recipe.method, job.torch_device
    set_seed(training.seed)
    model = kind.load(base, machine.precision if method.ships_as != "model" else "fp32")
    total_parameters = read_shape(base).parameters
    if recipe.quantisation != "none":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=machine.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    kind.check(model, material)
    steps = total_steps(recipe, len(material.train))
    setting = Setting(
        recipe.task.task_type,
        steps,
        training.seed,
        base,
        kind.batches(material),
        lambda adapter: shelf.find(job.home, job.store, adapter)[0],
        lambda name, make: once(job.home.run(job.run_id), name, make),
    )
    model = method.wrap(model, setting)
    initial.load_initial_adapter(job, model)
    if machine.gradient_checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    trainable_parameters = checks.require_trainable_parameters(model, method)

    options = arguments(
        recipe,
        job.home.checkpoints(job.run_id),
        total_steps=steps,
        validation=bool(material.validation),
        device=device,
        dtype=compute_dtype(machine.precision, device),
    )
    trainer: StudioTrainer | None = None
    events = Events(
        job,
        training,
        tokens_seen=lambda: trainer.tokens_seen,
        samples=lambda: kind.samples(trainer, material),
        save_best_delta=lambda: save_best_delta(job, recipe, trainer),
    )
    trainer = kind.trainer(model, options, material, [events, *method.callbacks(setting)])
    trainer.events = events
    plan = {
        "steps": steps,
        "examples": len(material.train),
        "validation": len(material.validation),
        "tokens": trainer.train_dataset.tokens,
        "trainable_parameters": trainable_parameters,
        "parameters": total_parameters,
    }
    job.store.add_event("plan", plan, run_id=job.run_id, job_id=job.id)
    return trainer


def total_steps(recipe: Recipe, examples: int) -> int:
    """The number of optimiser steps of the run, counted as transformers' Trainer counts them."""
    training = recipe.training
    if training.max_steps:
        return training.max_steps
    batches = -(-examples // training.batch_size)
    per_epoch = max(1, -(-batches // training.gradient_accumulation_steps))
    return max(1, -(-int(training.epochs * per_epoch * 1000) // 1000))


def once(folder: Path, name: str, make: Callable[[], Any]) -> Any:
    """Return the result of `make()`, computed on the first call only and cached in `folder` as {name}.json."""
    path = folder / f"{name}.json"
    if not path.exists():
        half = path.with_suffix(".half")
        half.write_text(json.dumps(make()), encoding="utf-8")
        half.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def save_best_delta(job: Job, recipe: Recipe, trainer: StudioTrainer) -> None:
    if recipe.training.load_best_model_at_end:
        shutil.rmtree(_best(job), ignore_errors=True)
        trainer.save_delta(_best(job))


def _best(job: Job) -> Path:
    return job.home.checkpoints(job.run_id) / "best"


def learn(job: Job, trainer: StudioTrainer, *, resume: bool) -> None:
    """Train until the end or a stop request; with `resume`, start from the last complete checkpoint.

    Metrics after that checkpoint's step are deleted first. Raises Stopped where a stop was requested.
    """
    found = last_checkpoint(job.home.checkpoints(job.run_id)) if resume else None
    step = found[1] if found else 0
    job.store.forget_metrics_after(job.run_id, step)
    if found:
        job.log(Sentence("Continuing from step {step}.", step=step))
        trainer.events.note_losses(
            [row["values"]["eval_loss"] for row in job.store.metrics(job.run_id) if "eval_loss" in row["values"]]
        )
    trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
    if job.stop_requested():
        job.log(Sentence("Stopped at step {step}; the checkpoint is saved.", step=trainer.state.global_step))
        raise Stopped
    evaluated = any(
        row["step"] == trainer.state.global_step and "eval_loss" in row["values"]
        for row in job.store.metrics(job.run_id)
    )
    if trainer.eval_dataset is not None and trainer.args.eval_strategy != "no" and not evaluated:
        trainer.evaluate()


def finish(
    job, name: str, recipe: Recipe, base: Path, kind: Kind, material: TrainingData, trainer: StudioTrainer, began: float
) -> dict:
    """Evaluate and save the model, check that the saved files give the same logits, and add it to the library.

    began: `time.monotonic()` at the start of the job. Returns {"adapter": id, "metrics": {...}}.
    """
    model = trainer.model
    if recipe.training.load_best_model_at_end and _best(job).exists():
        trainer.load_delta(_best(job))
    whole = recipe.method.ships_as == "model"
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    finish_method(recipe.method, model, base)
    metrics = kind.outcome(
        trainer,
        material,
        None if recipe.method.leaves_base_unchanged else lambda: kind.load(base, "fp32" if whole else None),
    )

    job.doing(Sentence("Saving and checking the adapter"))
    made = job.home.run(job.run_id) / "artefact"
    shutil.rmtree(made, ignore_errors=True)
    expected = kind.probe(model, material)  # before saving, which casts a full model, buffers included, to 16 bit
    save(recipe.method, model, made, base)
    kind.save_companion_files(made)
    trainer.model = trainer.model_wrapped = None
    del model
    difference = checks.reloaded_logits_match(kind, made, material, expected)
    job.log(Sentence("Reloaded from disk: logits differ by {difference:.1g} at most.", difference=difference))

    seconds = time.monotonic() - began
    remember_speed(job, recipe)
    adapter = shelf.add(
        job.home,
        job.store,
        source=made,
        name=name,
        run_id=job.run_id,
        card={
            **card(recipe, material, metrics, parameters=parameters, seconds=seconds, rope=read_rope_scaling(made)),
            "loader": loader(read_config(base).get("model_type")),
            **kind.card(),
            **({"parents": parents} if (parents := initial.parents_of_run(job)) else {}),
        },
    )
    shutil.rmtree(job.home.checkpoints(job.run_id), ignore_errors=True)  # no longer needed: the result is saved
    initial.forget_initial_adapter(job)
    return {"adapter": adapter, "metrics": metrics}


def finish_method(method: Method, model: torch.nn.Module, base: Path) -> None:
    """Bring the model into the form in which it will be saved, so that the evaluation measures the saved model."""
    if method.ships_as == "model":
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
    if method.ships_as == "model":
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
        "kind": "model" if method.ships_as == "model" else "adapter",
        "method": method.name,
        "summary": method.summary(),
        "ships_as": method.ships_as,
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


def remember_speed(job: Job, recipe: Recipe) -> None:
    """Store the run's throughput in tokens per second, without the first step, for later forecasts."""
    rows = [row["values"] for row in job.store.metrics(job.run_id) if "tokens" in row["values"]][1:]
    seconds = sum(row["seconds"] for row in rows)
    if seconds > 0:
        speed = sum(row["tokens"] for row in rows) / seconds
        job.store.set_note(
            f"speed:{job.device}:{recipe.model.name}:{recipe.method.name}:{recipe.task.name}",
            {"tokens_per_second": speed},
        )


def warm_up() -> None:
    """Take one training step on a tiny model, so that a standby worker has loaded all that is imported lazily."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Trainer, TrainingArguments  # noqa: F401

    config = Qwen2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    from studio.methods.lora import LoRA

    model = LoRA(rank=1).wrap(Qwen2ForCausalLM(config))
    model(input_ids=torch.zeros(1, 4, dtype=torch.long), logits_to_keep=torch.tensor([1])).logits.sum().backward()
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True).step()

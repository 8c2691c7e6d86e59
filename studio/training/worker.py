"""The stages of a training run: recipe → data → base model → method → trainer → adapter in the library.

Runs in a worker process (the `train` job) or in the foreground (`python -m studio.training`). Every stage reports its
progress, can be stopped, and raises StudioError with a readable sentence. Independent of the page and of the job queue.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from studio import hardware, trackers
from studio.forecast.memory import memory_parts, precision_of
from studio.forecast.speed import total_steps
from studio.jobs.failure_reasons import is_out_of_memory
from studio.jobs.job import Job, Stopped
from studio.library import adapter_store, lineage
from studio.library.card import public
from studio.methods import Setting
from studio.models.load import compute_dtype
from studio.models.resolve import resolve_folder
from studio.models.shape import read_shape
from studio.recipe import Recipe, recipe_from
from studio.runs import curves
from studio.trackers import sinks
from studio.trackers.tracking import Tracking
from studio.training import artefact, checkpoints, checks, continuation, initial, memory_report
from studio.training.events import Events
from studio.training.kinds import Kind, TrainingData, kind_of
from studio.training.strategy.strategy import Strategy
from studio.training.trainer import StudioTrainer, arguments
from studio.words import Sentence, StudioError


def train(job: Job) -> dict:
    """Run the `train` job. Returns {"adapter": id, "metrics": {...}}.

    payload: {"resume": bool}; for a run that continues another one also "from" and "schedule" (`continuation.begin`).

    Raises StudioError where the recipe does not fit the model, and Stopped where a stop was requested.
    """
    began = time.monotonic()
    row = job.store.run(job.run_id)
    recipe = recipe_from(row["recipe"])
    base = resolve_folder(recipe.model.name, recipe.model.revision)
    refusal = recipe.model_refusal(read_shape(base), base) or recipe.refusal(read_shape(base)) or recipe.conflict()
    refusal = refusal or trackers.missing(recipe.training.trackers)
    if refusal:
        raise StudioError(refusal)
    folder = job.home.run(job.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    if source := job.payload.get("from"):
        initial.copy_initial_adapter(job, source["run"])
    continued = continuation.begin(job)
    initial.keep_initial_adapter(job, recipe)
    kind, material = kind_of(job, recipe, base), None
    try:
        material = prepared(job, kind)
        about = sinks.About(job.run_id, row["name"], flat(recipe.to_dict()), job.home.root / "trackers")
        with Tracking(job, recipe.training.trackers, about) as tracking:
            trainer = build(job, recipe, base, kind, material, tracking)
            trainer.continuation = continued
            run_trainer(job, trainer, resume=bool(continued or job.payload.get("resume")))
            return finish(job, row["name"], recipe, base, kind, material, trainer, began)
    except Stopped:
        if job.request() == "discard":
            shutil.rmtree(job.home.checkpoints(job.run_id), ignore_errors=True)
            job.log(Sentence("The checkpoints are deleted, as asked."))
        raise
    except Exception as error:
        if is_out_of_memory(error):
            longest = max(getattr(material.train, "lengths", [0])) if material else 0
            memory_report.record(job, recipe, read_shape(base), int(longest), error)
        raise
    finally:
        keep_curves(job)


def keep_curves(job: Job) -> None:
    """Keep the run's curves for the comparison of runs. It can do without them, so a full disk is only logged."""
    try:
        curves.keep(job.home, job.store, job.run_id)
    except (OSError, sqlite3.OperationalError) as error:
        print(f"the curves are not kept: {error}", file=sys.stderr, flush=True)


def prepared(job: Job, kind: Kind) -> TrainingData:
    """Prepare the examples. They are not part of a checkpoint: a resumed run prepares them again."""
    try:
        material = kind.prepare()
        job.check_stop()
    except Stopped:
        job.log(Sentence("Stopped while the data was being prepared; Resume prepares it anew."))
        raise
    return material


def wrapped_model(job: Job, kind: Kind, material: TrainingData) -> tuple[torch.nn.Module, Setting]:
    """Load the base model and wrap it with the recipe's method. The same in every process that works on the run."""
    job.doing(Sentence("Loading the base model"))
    recipe = kind.recipe
    training, machine, method = recipe.training, recipe.machine, recipe.method
    set_seed(training.seed)
    model = kind.load(kind.base, machine.precision if method.artefact_type != "model" else "fp32")
    if recipe.quantisation != "none":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=machine.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    kind.check(model, material)
    setting = Setting(
        recipe.task.task_type,
        total_steps(recipe, len(material.train)),
        training.seed,
        kind.base,
        kind.batches(material),
        lambda adapter: adapter_store.find(job.home, job.store, adapter)[0],
        lambda name, make: once(job.home.run(job.run_id), name, make),
    )
    model = method.wrap(model, setting)
    initial.load_initial_adapter(job, model)
    return model, setting


def flat(recipe: dict, before: str = "") -> dict[str, Any]:
    """The options of a recipe by their dotted names, without local paths; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in public(recipe).items():
        name = f"{before}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def build(
    job: Job, recipe: Recipe, base: Path, kind: Kind, material: TrainingData, tracking: Tracking
) -> StudioTrainer:
    """Make the model and create the trainer; record the run's plan in the store."""
    training, machine, method, device = recipe.training, recipe.machine, recipe.method, job.torch_device
    model, setting = wrapped_model(job, kind, material)
    if machine.gradient_checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    trainable_parameters = checks.require_trainable_parameters(model, method)

    options = arguments(
        recipe,
        job.home.checkpoints(job.run_id),
        total_steps=setting.total_steps,
        validation=bool(material.validation),
        device=device,
        dtype=compute_dtype(machine.precision, device),
    )
    trainer: StudioTrainer | None = None
    strategy = Strategy(job, training, method) if training.adapt else None
    events = Events(
        job,
        training,
        tokens_seen=lambda: (trainer.tokens_seen, trainer.positions_seen),
        samples=lambda: kind.samples(trainer, material),
        writes_best=training.keeps_best,
        tracking=tracking,
        strategy=strategy,
    )
    before = [strategy] if strategy else []  # it may undo a step whose loss was no number, at which events would fail
    trainer = kind.trainer(model, options, material, [*before, events, *method.callbacks(setting)])
    trainer.events = events
    if strategy:
        trainer.strategy, strategy.trainer = strategy, trainer
    trainer.kept = checkpoints.Rule(training.save_total_limit, training.keeps_best)
    shape = read_shape(base)
    longest = max(getattr(material.train, "lengths", [shape.context or 0]))
    precision = precision_of(recipe, hardware.machine().bf16_on(job.device), job.device)
    plan = {
        "steps": setting.total_steps,
        "examples": len(material.train),
        "validation": len(material.validation),
        "tokens": trainer.train_dataset.tokens,
        "trainable_parameters": trainable_parameters,
        "parameters": shape.parameters,
        "memory": sum(memory_parts(recipe, shape, int(longest), device=job.device, precision=precision).values()),
    }
    job.store.add_event("plan", plan, run_id=job.run_id, job_id=job.id)
    return trainer


def once(folder: Path, name: str, make: Callable[[], Any]) -> Any:
    """Return the result of `make()`, computed on the first call only and cached in `folder` as {name}.json."""
    path = folder / f"{name}.json"
    if not path.exists():
        half = path.with_suffix(".half")
        half.write_text(json.dumps(make()), encoding="utf-8")
        half.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def run_trainer(job: Job, trainer: StudioTrainer, *, resume: bool) -> None:
    """Train until the end or a stop request; with `resume`, start from the last complete checkpoint.

    Metrics after that checkpoint's step are deleted first. Raises Stopped where a stop was requested.
    """
    folder = job.home.checkpoints(job.run_id)
    found = checkpoints.last(folder) if resume else None
    step = found.step if found else 0
    job.store.forget_metrics_after(job.run_id, step)
    if found:
        job.log(Sentence("Continuing from step {step}.", step=step))
        trainer.events.note_losses(
            [row["values"]["eval_loss"] for row in job.store.metrics(job.run_id) if "eval_loss" in row["values"]]
        )
    trainer.args.eval_on_start = _starts_with_evaluation(job, trainer, step)
    trainer.train(resume_from_checkpoint=str(found.folder) if found else None)
    step = trainer.state.global_step
    if job.stop_requested():
        if job.request() == "pause":
            job.log(Sentence("Paused at step {step}; the checkpoint is saved.", step=step))
        elif job.request() != "discard":
            job.log(Sentence("Stopped at step {step}; the checkpoint is saved.", step=step))
        raise Stopped
    if job.finish_requested():
        job.log(Sentence("Ended at step {step}, as asked.", step=step))
    if trainer.eval_dataset is not None and trainer.args.eval_strategy != "no" and not _evaluated(job, step):
        trainer.evaluate()


def _starts_with_evaluation(job: Job, trainer: StudioTrainer, step: int) -> bool:
    """A run that adapts has to know where it starts; one that was stopped at `step` left out an evaluation due there,
    because a stop must not wait for it.
    """
    if trainer.args.eval_strategy == "no":
        return False
    if step == 0:
        return trainer.strategy is not None
    return step % trainer.args.eval_steps == 0 and not _evaluated(job, step)


def _evaluated(job: Job, step: int) -> bool:
    return any(row["step"] == step and "eval_loss" in row["values"] for row in job.store.metrics(job.run_id))


def finish(
    job, name: str, recipe: Recipe, base: Path, kind: Kind, material: TrainingData, trainer: StudioTrainer, began: float
) -> dict:
    """Evaluate and save the model, check that the saved files give the same logits, and add it to the library.

    began: `time.monotonic()` at the start of the job. Returns {"adapter": id, "metrics": {...}}.
    """
    model = trainer.model
    best = checkpoints.best(checkpoints.listed(job.home.checkpoints(job.run_id)))
    if recipe.training.takes_best and best:
        trainer.load_delta(best.folder)
    whole = recipe.method.artefact_type == "model"
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    artefact.finish_method(recipe.method, model, base)
    metrics = kind.outcome(
        trainer,
        material,
        None if recipe.method.leaves_base_unchanged else lambda: kind.load(base, "fp32" if whole else None),
    )

    made = job.home.run(job.run_id) / "artefact"
    continued = trainer.continuation
    expected = artefact.save_with_logits(job, kind, model, material, made)
    trainer.model = trainer.model_wrapped = None
    del model
    artefact.check_reloaded(job, kind, material, made, expected)
    remember_speed(job, recipe)
    adapter = artefact.add_to_library(
        job,
        kind,
        material,
        made,
        name=name,
        adapter_id=job.run_id,
        metrics=metrics,
        parameters=parameters,
        seconds=time.monotonic() - began,
        facts=origin(job, continued),
    )
    checkpoints.prune(job.home.checkpoints(job.run_id), trainer.kept)
    return {"adapter": adapter, "metrics": metrics}


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


def origin(job: Job, continued: continuation.Continuation | None) -> dict:
    """What the adapter's card says of the run or the adapter that this run continued; empty where it began anew."""
    if continued:
        return {"continued": continued.facts(), "parents": [lineage.parent(continued.run, continued.name, "continued")]}
    parents = initial.parents_of_run(job)
    return {"parents": parents} if parents else {}

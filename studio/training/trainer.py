"""A subclass of transformers' Trainer with its own batches, loss, example order and checkpoints; the training loop is
the Trainer's.

Differences from Trainer: logits are computed only at positions where some row has a label; the validation loss is a
mean over tokens, not over batches; a checkpoint holds exactly the trainable parameters (for every method, including
P-Tuning's encoder, which peft's own files omit) and is used only if it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainingArguments, get_scheduler

from studio.methods import Method
from studio.recipe import Recipe
from studio.tasks import IGNORED
from studio.training import checkpoints
from studio.training.batches import Collator, Examples, LengthGrouped
from studio.training.continuation import Continuation
from studio.training.strategy import memory, ranks, rates
from studio.training.strategy.strategy import Strategy

TRAINABLE = "trainable.safetensors"
STATE = "state.safetensors"  # the method's own state, such as AdaLoRA's importance scores
_REWARM = 0.05  # least share of the further steps in which the learning rate climbs, with the schedule "rewarm"
_EVALUATION_STEPS = 4  # least steps between the evaluations that a run makes because it adapts
_OPTIMISERS = {
    "adamw": "adamw_torch_fused",
    "sgd": "sgd",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "lion_8bit": "lion_8bit",
}


def arguments(
    recipe: Recipe, folder: Path, *, total_steps: int, validation: bool, device: str, dtype: torch.dtype
) -> TrainingArguments:
    """Convert the recipe to transformers' TrainingArguments. folder: for checkpoints. validation: whether there are
    validation rows.
    """
    training, machine = recipe.training, recipe.machine
    times = training.planned_evaluations if validation else 0
    every = max(1, -(-total_steps // times)) if times else 0
    if every and training.adapt:  # but never more often than makes sense in a short run
        every = max(every, min(_EVALUATION_STEPS, -(-total_steps // training.evaluations)))
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps or -1,
        learning_rate=training.learning_rate,
        lr_scheduler_type=_schedule(training),
        warmup_steps=training.warmup_ratio,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=_OPTIMISERS[training.optimiser],
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=device == "cpu",
        gradient_checkpointing=machine.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if machine.gradient_checkpointing else None,
        eval_strategy="steps" if every else "no",
        eval_steps=every or None,
        save_strategy="steps",
        save_steps=training.save_steps,
        logging_strategy="steps",
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        seed=training.seed,
        data_seed=training.seed,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device != "cpu",
        prediction_loss_only=True,
        label_names=["labels"],
    )


def _schedule(training) -> str:
    if training.lr_scheduler_type == "constant" and training.warmup_ratio:
        return "constant_with_warmup"
    return training.lr_scheduler_type


class StudioTrainer(Trainer):
    """See the module's docstring. `method` may provide its own optimiser.

    Attributes: `virtual`, the method's number of virtual tokens before the input; `tokens_seen`, tokens trained on so
    far, without padding; `positions_seen`, the same with padding, 0 where inputs have no tokens; `kept`, which
    checkpoints are kept; `continuation`, the checkpoint of another run from which this one goes on, if any; `strategy`,
    what adapts the run while it learns, if it does.
    """

    kept = checkpoints.Rule()
    continuation: Continuation | None = None
    strategy: Strategy | None = None
    _pieces = 1  # parts of the batch that is being learnt from

    def __init__(
        self,
        model,
        args: TrainingArguments,
        *,
        method: Method,
        train: Examples,
        validation: Examples | None,
        collator: Collator,
        group_by_length: bool,
        callbacks: list,
    ):
        self.method, self.group_by_length = method, group_by_length
        self.virtual = getattr(method, "virtual_tokens", 0) if method.prompt_learning else 0
        self.tokens_seen = self.positions_seen = 0
        super().__init__(
            model, args, data_collator=collator, train_dataset=train, eval_dataset=validation, callbacks=callbacks
        )
        self.remove_callback(PrinterCallback)  # it prints each step's metrics, which the store already has
        self.model_accepts_loss_kwargs = (
            True  # the loss is already a mean over the labelled tokens of the effective batch
        )

    # ---- loss -------------------------------------------------------------------------------------------------

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        total, count = self._loss(model, inputs)
        loss = total / (count if num_items_in_batch is None else num_items_in_batch)
        penalty = self.method.penalty(self.model)
        if penalty is not None:  # adds its gradient only: the reported value stays the loss on the data
            loss = loss + (penalty - penalty.detach()) / (
                self._pieces * self.current_gradient_accumulation_steps if self.model_accepts_loss_kwargs else 1
            )
        return (loss, {"loss": loss}) if return_outputs else loss

    def _loss(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (weighted sum of the cross-entropy over the labelled tokens of a batch, number of labelled tokens).

        The number is not weighted, so a token of weight ½ contributes half in every batch, whatever else is in it.
        """
        inputs = dict(inputs)
        if model.training:
            self.count_tokens(inputs)
        labels, _, weights = inputs.pop("labels"), inputs.pop("tokens"), inputs.pop("weights", None)
        losses, counted = self.token_losses(model, labels, **inputs)
        if weights is not None:
            losses = losses * weights[:, 1:][:, (labels[:, 1:] != IGNORED).any(0)]
        return losses.sum(), counted.sum()

    def count_tokens(self, inputs: dict) -> None:
        """Add a training batch to `tokens_seen` and `positions_seen`."""
        self.tokens_seen += int(inputs["tokens"])
        if "input_ids" in inputs:
            self.positions_seen += inputs["input_ids"].numel()

    def token_losses(self, model, labels: torch.Tensor, **inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (cross-entropy, mask of labelled tokens), both rows × kept positions; the loss is 0 where unlabelled.

        Kept are the positions at which some row has a label: logits of other positions are never computed.
        """
        labels = labels[:, 1:]
        kept = (labels != IGNORED).any(0).nonzero().squeeze(1)
        logits = model(**inputs, logits_to_keep=kept + self.virtual, use_cache=False).logits
        wanted = labels[:, kept]
        members = len(logits) // len(
            wanted
        )  # in training, a prompt ensemble returns the rows of each member, one member after the other
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), wanted.repeat(members, 1).flatten(), ignore_index=IGNORED, reduction="none"
        )
        return losses.view(members, *wanted.shape).mean(0), wanted != IGNORED

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Return the metrics of `validation`, each name prefixed with "eval_", and report them to the callbacks."""
        with torch.random.fork_rng(devices=[]):  # the data loader draws a number: later dropout must not depend on it
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validation().items()}
        self.log(dict(metrics))
        # One that was saved by a stop, which left this evaluation to the resumed run.
        saved = checkpoints.checkpoint_folder(Path(self.args.output_dir), self.state.global_step)
        checkpoints.add_facts(saved, {"eval_loss": metrics["eval_loss"]})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    @torch.no_grad()
    def validation(self, model=None) -> dict[str, float]:
        """Return {"loss": mean over all labelled validation tokens} of `model`, a base model without virtual tokens, or
        by default of the model being fine-tuned.

        Subclasses for other kinds of task add their own metrics; the page plots each of them during the run.
        """
        own = model is None
        model = (self.model_wrapped if own else model).eval()
        virtual, self.virtual = self.virtual, self.virtual if own else 0
        total, count = 0.0, 0
        try:
            for inputs in self.get_eval_dataloader():
                with self.compute_loss_context_manager():
                    part, tokens = self._loss(model, self._prepare_inputs(inputs))
                total, count = total + part.item(), count + tokens.item()
        finally:
            self.virtual = virtual
        return {"loss": total / max(1, count)}

    # ---- batches in parts -------------------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        found = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.strategy:
            self._step_batches, self._place = found[0], 0
            self._seen_before_step = self.tokens_seen, self.positions_seen
        return found

    def training_step(self, model, inputs, num_items_in_batch=None):
        """As Trainer's; where the run adapts and memory runs out, the step's batches are learnt from again in parts."""
        if self.strategy is None or num_items_in_batch is None:
            return super().training_step(model, inputs, num_items_in_batch)
        before = self._step_batches[: self._place]
        self._place += 1
        loss = memory.attempt(lambda: self._in_parts(model, inputs, num_items_in_batch))
        while loss is None:
            model.zero_grad()
            self.tokens_seen, self.positions_seen = self._seen_before_step
            if not self.strategy.split(memory.rows_of(inputs)):
                return self._in_parts(model, inputs, num_items_in_batch)  # raises what it raised before
            loss = memory.attempt(
                lambda: [self._in_parts(model, batch, num_items_in_batch) for batch in [*before, inputs]][-1]
            )
        return loss

    def _in_parts(self, model, inputs, num_items_in_batch) -> torch.Tensor:
        """Add the gradients of a batch, part by part; returns its loss."""
        parts = memory.split(inputs, self.strategy.watch.parts) if self.strategy.watch.parts > 1 else [inputs]
        self._pieces = len(parts)
        try:
            return sum(super(StudioTrainer, self).training_step(model, part, num_items_in_batch) for part in parts)
        finally:
            self._pieces = 1

    # ---- order and optimiser ----------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset=None):
        if not self.group_by_length:
            return super()._get_train_sampler(train_dataset)
        return LengthGrouped(
            self.train_dataset.lengths,
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            self.args.data_seed,
        )

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = self.method.optimizer(self.model, cls, {**options, "weight_decay": self.args.weight_decay})
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is not None:
            return self.lr_scheduler
        if self.continuation is None or self.continuation.lr_schedule is None:
            super().create_scheduler(num_training_steps, optimizer)
        else:
            factor = continued_schedule(self.args, self.continuation, num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        if self.strategy:
            rates.scale(self.lr_scheduler, lambda: self.strategy.watch.rate if self.strategy.watch else 1.0)
        return self.lr_scheduler

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.continuation is None or self.continuation.lr_schedule is None:
            return
        # What was loaded are the next learning rates of the schedule that ended with the checkpoint.
        rates.set_rates(self.lr_scheduler)

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def save_delta(self, folder: Path) -> None:
        """Write the trainable parameters and the method's own state to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_trainable(self.model, folder / TRAINABLE)
        state = self.method.state(self.model)
        if state:
            save_file({name: tensor.detach().contiguous().clone() for name, tensor in state.items()}, folder / STATE)

    def load_delta(self, folder: Path) -> None:
        """Load the parameters and state written by `save_delta`. Raises ValueError where they do not fit the model."""
        load_delta(self.model, self.method, folder)

    def _save(self, output_dir=None, state_dict=None):
        self.save_delta(Path(output_dir))
        if self.strategy:
            self.strategy.save(Path(output_dir))

    def _save_checkpoint(self, model, trial):
        parent = Path(self.args.output_dir)
        folder = checkpoints.checkpoint_folder(parent, self.state.global_step)
        (folder / checkpoints.WHOLE).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)
        here = [entry for entry in self.state.log_history[-4:] if entry["step"] == self.state.global_step]
        measured = {key: entry[key] for entry in here for key in ("loss", "eval_loss") if key in entry}
        checkpoints.finish(folder, {"epoch": self.state.epoch, "steps": self.state.max_steps, **measured})
        # While the run goes on, it needs one to go on from.
        checkpoints.prune(parent, replace(self.kept, last=max(1, self.kept.last)))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.load_delta(Path(resume_from_checkpoint))
        if self.strategy:
            self.strategy.load(Path(resume_from_checkpoint))


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable parameters of `model` by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_trainable(model: torch.nn.Module, path: Path) -> None:
    save_file(
        {name: tensor.detach().contiguous().clone() for name, tensor in trainable_parameters(model).items()}, path
    )


def load_trainable(model: torch.nn.Module, path: Path) -> None:
    """Load the saved tensors; LoRA layers get the ranks that they had when the tensors were saved. Raises ValueError
    where their names are not exactly those of the trainable parameters.
    """
    saved, own = load_file(path), trainable_parameters(model)
    if any(name in own and own[name].shape != tensor.shape for name, tensor in saved.items()):
        ranks.match(model, {name: tensor.shape for name, tensor in saved.items()})
    if set(saved) != set(own):
        raise ValueError(
            f"checkpoint {path} holds other tensors than the model learns: {sorted(set(saved) ^ set(own))[:4]}"
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)


def load_delta(model: torch.nn.Module, method: Method, folder: Path) -> None:
    """Load the trainable parameters and the method's state from a checkpoint. Raises ValueError where they do not fit
    the model.
    """
    load_trainable(model, folder / TRAINABLE)
    state = folder / STATE
    method.load_state(model, load_file(state) if state.exists() else {})


def continued_schedule(args: TrainingArguments, continuation: Continuation, total: int) -> Callable[[int], float]:
    """Step → learning rate relative to the recipe's, for the steps after the checkpoint; see `SCHEDULES`.

    total: number of steps of the longer run.
    """
    if continuation.lr_schedule == "constant":
        return lambda step: 1.0
    if continuation.lr_schedule == "last":
        planned = continuation.steps or continuation.step
        factor = _schedule_factor(args, planned, args.get_warmup_steps(planned))
        return lambda step: factor(continuation.step - 1)
    length = total - continuation.step
    factor = _schedule_factor(args, length, max(1, args.get_warmup_steps(length), round(_REWARM * length)))
    return lambda step: factor(step - continuation.step)


def _schedule_factor(args: TrainingArguments, steps: int, warmup_steps: int) -> Callable[[int], float]:
    """Step → learning rate relative to the recipe's, as transformers' schedule of that many steps has it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=args.learning_rate)
    lr_schedule = get_scheduler(
        args.lr_scheduler_type, optimizer, num_warmup_steps=warmup_steps, num_training_steps=steps
    )
    return lr_schedule.lr_lambdas[0]

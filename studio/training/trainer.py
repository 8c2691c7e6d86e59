"""transformers' Trainer with our own batches, loss positions, order and checkpoints. No loop of our own.

What differs from the plain Trainer: logits are computed only where some row has a label; the validation loss is a mean over
tokens, not over batches; a checkpoint holds exactly the tensors that are learnt (so that it is the same for every
method, P-Tuning's encoder included, which peft's own files leave out) and counts only once it is whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer, TrainingArguments

from studio.methods import Method
from studio.recipe import Recipe
from studio.tasks import IGNORED
from studio.training.batches import Collator, Examples, LengthGrouped

TRAINABLE = "trainable.safetensors"
STATE = "state.safetensors"  # what the method itself must remember (AdaLoRA's importances, say)
WHOLE = "whole"  # written last; a checkpoint without it was torn by a kill or a full disk
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
    """The recipe as transformers' TrainingArguments; checkpoints go to `folder`. validation: whether there is anything to evaluate on."""
    training, machine = recipe.training, recipe.machine
    every = max(1, -(-total_steps // training.evaluations)) if training.evaluations and validation else 0
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
        save_total_limit=2,
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
    """See the module's docstring. `method` may bring its own optimiser; `virtual` is its number of virtual tokens."""

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
        self.tokens_seen = 0
        super().__init__(
            model, args, data_collator=collator, train_dataset=train, eval_dataset=validation, callbacks=callbacks
        )
        self.remove_callback(PrinterCallback)  # a line a step in the job's log, which the store has already
        self.model_accepts_loss_kwargs = (
            True  # our loss is a mean over the labelled tokens of the whole effective batch
        )

    # ---- loss -------------------------------------------------------------------------------------------------

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        total, count = self._loss(model, inputs)
        loss = total / (count if num_items_in_batch is None else num_items_in_batch)
        penalty = self.method.penalty(self.model)
        if penalty is not None:  # its gradient only: the curve that a person reads stays the loss on the data
            loss = loss + (penalty - penalty.detach()) / (
                self.current_gradient_accumulation_steps if self.model_accepts_loss_kwargs else 1
            )
        return (loss, {"loss": loss}) if return_outputs else loss

    def _loss(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed cross-entropy over the labelled tokens of a batch, each times its weight, and how many there are: a token of weight ½ counts half
        in every batch, whatever else is in it."""
        inputs = dict(inputs)
        labels, tokens, weights = inputs.pop("labels"), inputs.pop("tokens"), inputs.pop("weights", None)
        if model.training:
            self.tokens_seen += int(tokens)
        losses, counted = self.token_losses(model, labels, **inputs)
        if weights is not None:
            losses = losses * weights[:, 1:][:, (labels[:, 1:] != IGNORED).any(0)]
        return losses.sum(), counted.sum()

    def token_losses(self, model, labels: torch.Tensor, **inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of each labelled token, rows × positions, and where there is one (elsewhere it is 0).

        Only positions at which some row has a label: the rest of batch × length × vocabulary is never computed.
        """
        labels = labels[:, 1:]
        kept = (labels != IGNORED).any(0).nonzero().squeeze(1)
        logits = model(**inputs, logits_to_keep=kept + self.virtual, use_cache=False).logits
        wanted = labels[:, kept]
        members = len(logits) // len(
            wanted
        )  # an ensemble that learns gives the rows of each member, one member after the other
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), wanted.repeat(members, 1).flatten(), ignore_index=IGNORED, reduction="none"
        )
        return losses.view(members, *wanted.shape).mean(0), wanted != IGNORED

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """What `validation` gives, with "eval_" in front of each name."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validation().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    @torch.no_grad()
    def validation(self, model=None) -> dict[str, float]:
        """{"loss": mean over all labelled validation tokens} of `model` (a bare base, say) or the one that is being fine-tuned.

        Other kinds of task add their own figures; each is drawn live.
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

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def save_delta(self, folder: Path) -> None:
        """Write the trainable parameters, and the state that the method keeps beside them, into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_trainable(self.model, folder / TRAINABLE)
        state = self.method.state(self.model)
        if state:
            save_file({name: tensor.detach().contiguous().clone() for name, tensor in state.items()}, folder / STATE)

    def load_delta(self, folder: Path) -> None:
        """Load what `save_delta` wrote into the model."""
        load_trainable(self.model, folder / TRAINABLE)
        state = folder / STATE
        self.method.load_state(self.model, load_file(state) if state.exists() else {})

    def _save(self, output_dir=None, state_dict=None):
        self.save_delta(Path(output_dir))

    def _save_checkpoint(self, model, trial):
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        (folder / WHOLE).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)
        for path in folder.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        (folder / WHOLE).touch()

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.load_delta(Path(resume_from_checkpoint))


def labelled(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Name → every parameter that is being learnt."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_trainable(model: torch.nn.Module, path: Path) -> None:
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in labelled(model).items()}, path)


def load_trainable(model: torch.nn.Module, path: Path) -> None:
    """Put the saved tensors back; raises ValueError if they are not exactly the ones that are learnt."""
    saved, own = load_file(path), labelled(model)
    if set(saved) != set(own):
        raise ValueError(
            f"checkpoint {path} holds other tensors than the model learns: {sorted(set(saved) ^ set(own))[:4]}"
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)


def last_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest whole checkpoint and its step."""
    found = [path for path in folder.glob("checkpoint-*") if (path / WHOLE).exists()]
    if not found:
        return None
    newest = max(found, key=lambda path: int(path.name.rpartition("-")[2]))
    return newest, json.loads((newest / "trainer_state.json").read_text())["global_step"]

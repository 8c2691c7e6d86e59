"""The callback of a run that adapts while it learns: it watches, asks the rules, carries out and records what they say.

Every change is an event "action" of the run, with its reason, and a metric at its step, which marks it on the plot.
Decisions depend only on what was measured at steps, and all of its state is in the checkpoint, so a resumed run takes
the same ones.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback, TrainerState

from studio.jobs.job import Job
from studio.methods import Method
from studio.recipe import Training
from studio.training.strategy import ranks, rates
from studio.training.strategy.memory import MOST_BYTES, LastGood
from studio.training.strategy.rules import Rule, due, metric, suspicious
from studio.training.strategy.watch import LOWEST, Watch
from studio.words import Sentence

FILE = "strategy.json"
_NEAR = 0.1  # smoothed training loss above the lowest one, relative to its start, up to which a state counts as good
_SOON = 3  # windows after a fall back within which another one lowers the rate twice as much
_FILLED = 0.5  # effective rank, relative to the rank, from which a layer is worth growing
_UNUSED = 1e-4  # share of the energy of a delta that may be dropped
_LOSS = 1.005  # validation loss, relative to that before, up to which a lower rank is kept


class Adaptable(Protocol):
    """What the strategy needs of the run's trainer (`StudioTrainer`). events: counts evaluations for early stopping."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    lr_scheduler: torch.optim.lr_scheduler.LambdaLR
    state: TrainerState
    events: Any
    _tr_loss: torch.Tensor

    def validation(self) -> dict[str, float]: ...


class Strategy(TrainerCallback):
    """See the module's docstring. `trainer` must be set before training.

    Attributes: `watch`, what is known of the run; `recovered`, the step whose loss was no number and that was undone.
    """

    trainer: Adaptable

    def __init__(self, job: Job, training: Training, method: Method):
        self.job, self.training, self.method = job, training, method
        self.watch: Watch | None = None
        self.recovered = -1
        self._good: LastGood | None = None
        self._from: Path | None = None
        self._waited = 0
        self._unmarked: list[str] = []  # actions before the first loss

    # ---- what a checkpoint holds ------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        state = {"watch": self.watch.to_json(), "waited": self.trainer.events.waited}
        (folder / FILE).write_text(json.dumps(state), encoding="utf-8")
        if self._good:
            self._good.save(folder)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint; from one of a run that did not adapt, begin anew."""
        if (folder / FILE).exists():
            state = json.loads((folder / FILE).read_text(encoding="utf-8"))
            self.watch, self._waited, self._from = Watch.from_json(state["watch"]), state["waited"], folder

    # ---- what it watches --------------------------------------------------------------------------------------

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        trained = sum(value.numel() * value.element_size() for value in model.parameters() if value.requires_grad)
        if trained <= MOST_BYTES:
            self._good = LastGood(model, self.method, optimizer)
        else:
            self.job.log(
                Sentence("What is trained is too large for a copy in memory, so this run cannot fall back to one.")
            )
        if self._from:
            self.watch.steps = state.max_steps
            self.trainer.events.waited = self._waited
            if self._good:
                self._good.load(self._from)
            return
        begin = state.global_step + args.get_warmup_steps(state.max_steps)
        can_change_ranks = (
            self.method.name in ranks.METHODS
            and self.training.optimiser in ranks.OPTIMISERS
            and self.training.adapt_rank_ratio > 1
        )
        self.watch = Watch(state.max_steps, begin, self.training.adapt_patience, can_change_ranks, state.global_step)
        if self._good:
            self._good.take(state.global_step)
        if args.eval_strategy == "no":
            self.job.log(Sentence("There are no evaluations, so only the training loss is watched."))

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in logs:
            return
        watch, step = self.watch, state.global_step
        # In fp16 the scaler meets gradients that are no numbers all the time, and skips their steps.
        watch.note_step(step, logs["loss"], None if args.fp16 else logs.get("grad_norm"))
        unmarked, self._unmarked = self._unmarked, []
        for action in unmarked:
            self.mark(action, step)
        if self._carry_out("step", step):
            return
        evaluated = watch.evaluations[-1].step if watch.evaluations else watch.since
        wait = watch.window // 2 * 2**watch.doubts  # longer each time, so that noisy batches do not cost much
        if suspicious(watch) and args.eval_strategy != "no" and step - evaluated >= wait:
            watch.doubts += 1
            control.should_evaluate = True
        if not self._good or (step - watch.since) % watch.window:
            return
        now = watch.smooth()
        if now is not None and now - watch.lowest <= _NEAR * abs(watch.start):
            self._good.take(step)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.watch.note_evaluation(state.global_step, metrics["eval_loss"])
        if state.global_step < state.max_steps and not control.should_training_stop:
            self._carry_out("evaluation", state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self._good = None  # it holds the model, which is freed before the adapter is checked

    def split(self, rows: int) -> bool:
        """Memory ran out at a batch of `rows`: split batches into twice as many parts. False where that cannot be."""
        if 2 * self.watch.parts > rows:
            return False
        return self._carry_out("memory", self.trainer.state.global_step + 1)

    # ---- what it changes --------------------------------------------------------------------------------------

    def _carry_out(self, moment: str, step: int) -> bool:
        """Carry out the first rule of the moment that applies and can be carried out; whether there was one."""
        for rule, values in due(self.watch, moment):
            change = getattr(self, f"_{rule.action}")(rule, step)
            if change is None:
                continue
            if moment != "memory":
                self.watch.changed(step)
            self._report(rule, step, Sentence(rule.reason, **values), change)
            return True
        return False

    def _report(self, rule: Rule, step: int, reason: Sentence, change: Sentence) -> None:
        sentence = Sentence("Step {step}: {reason} {change}", step=step, reason=reason, change=change)
        self.job.store.add_event(
            "action",
            {**sentence.to_json(), "step": step, "rule": rule.id, "action": rule.action},
            run_id=self.job.run_id,
            job_id=self.job.id,
        )
        self.mark(rule.action, step)

    def mark(self, action: str, step: int) -> None:
        """Record the mark of an action at the newest loss that is a number, once there is one."""
        newest = next((loss for _, loss in reversed(self.watch.losses) if math.isfinite(loss)), None)
        if newest is None:
            self._unmarked.append(action)
        else:
            self.job.store.add_metrics(self.job.run_id, step, {metric(action): newest})

    def _fall_back(self, rule: Rule, step: int) -> Sentence | None:
        if not self._good:
            return None
        watch = self.watch
        soon = bool(watch.falls) and step - watch.falls[-1] < _SOON * watch.window
        good = self._good.restore()
        watch.falls.append(step)
        watch.doubts = 0
        watch.ceiling = self._set_rate(watch.rate * (rule.factor**2 if soon else rule.factor))
        self.trainer._tr_loss.zero_()  # Trainer subtracts the loss from itself, which leaves no number as it is
        self.trainer.events.waited = 0
        if not watch.finite:
            self.recovered = step
        return Sentence(
            "Back to the state after step {good}, with {rate}× the planned learning rate.",
            good=good,
            rate=f"{watch.rate:.3g}",
        )

    def _raise(self, rule: Rule, step: int) -> Sentence:
        self.trainer.events.waited = 0
        return self._lower(rule, step)

    def _lower(self, rule: Rule, step: int) -> Sentence:
        rate = self._set_rate(self.watch.rate * rule.factor)
        return Sentence("The learning rate is {rate}× the planned one now.", rate=f"{rate:.3g}")

    def _set_rate(self, rate: float) -> float:
        self.watch.rate = min(max(rate, LOWEST), self.watch.ceiling)
        rates.set_rates(self.trainer.lr_scheduler)
        return self.watch.rate

    def _split(self, rule: Rule, step: int) -> Sentence:
        self.watch.parts *= 2
        return Sentence(
            "Batches are split into {parts} parts now, whose gradients are added up: the effective batch stays.",
            parts=self.watch.parts,
        )

    def _grow(self, rule: Rule, step: int) -> Sentence | None:
        ratio, base = self.training.adapt_rank_ratio, self.method.rank
        found = [
            (place, layer)
            for place, layer in enumerate(ranks.layers(self.trainer.model))
            if layer.rank < min(base * ratio, layer.widest) and ranks.effective_rank(layer) >= _FILLED * layer.rank
        ]
        if not found:
            return None
        for place, layer in found:
            seed = (self.training.seed * 1_000_003 + step) * 1_000_003 + place
            ranks.grow(layer, min(2 * layer.rank, base * ratio, layer.widest), self.trainer.optimizer, seed % 2**63)
        self.trainer.events.waited = 0
        return Sentence(
            "The ranks of {count} {count:layer|layers} were raised, to {most} at most; "
            "the validation loss was {before} before and is {after} after.",
            count=len(found),
            **self._after_ranks(step, self._validation()),
        )

    def _shrink(self, rule: Rule, step: int) -> Sentence | None:
        least = -(-self.method.rank // self.training.adapt_rank_ratio)
        undo = []
        for layer in ranks.layers(self.trainer.model):
            needed = ranks.needed_rank(layer, _UNUSED) and max(least, ranks.needed_rank(layer, _UNUSED))
            if 0 < needed <= layer.rank // 2:  # a little less is not worth turning the others
                undo.append(ranks.remember(layer, self.trainer.optimizer))
                ranks.shrink(layer, needed, self.trainer.optimizer)
        after = self._validation() if undo else 0.0
        if after > _LOSS * self.watch.evaluations[-1].loss:
            for restore in undo:
                restore()
            undo = []
        if not undo:
            return None
        return Sentence(
            "The ranks of {count} {count:layer|layers} were lowered, the highest one is {most} now; "
            "the validation loss was {before} before and is {after} after.",
            count=len(undo),
            **self._after_ranks(step, after),
        )

    def _validation(self) -> float:
        loss = self.trainer.validation()["loss"]
        self.trainer.model.train()
        return loss

    def _after_ranks(self, step: int, loss: float) -> dict:
        """Record new ranks in the model's configuration; returns the values of the sentence about them."""
        ranks.record(self.trainer.model)
        if self._good:
            self._good.begin_anew(step)
        return {
            "most": max(layer.rank for layer in ranks.layers(self.trainer.model)),
            "before": f"{self.watch.evaluations[-1].loss:.5g}",
            "after": f"{loss:.5g}",
        }

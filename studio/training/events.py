"""The `TrainerCallback` that records a run in the store: metrics of each step, evaluations and answers to the sample
prompts. It also stops the run, on request or early.

Its overhead per step must stay negligible (`benchmarks/overhead.py`). Independent of the loss.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable

import psutil
import torch
from transformers import TrainerCallback

from studio.jobs.job import Job
from studio.recipe import Training
from studio.words import Sentence, StudioError


class Events(TrainerCallback):
    """Records to the store.

    tokens_seen(): number of tokens trained on so far. samples(): answers to the fixed sample prompts.
    writes_best: whether a checkpoint is written at each new minimum of the validation loss.
    """

    def __init__(
        self,
        job: Job,
        training: Training,
        *,
        tokens_seen: Callable[[], int],
        samples: Callable[[], list[dict]],
        writes_best: bool,
    ):
        self.job, self.training = job, training
        self.tokens_seen, self.samples, self.writes_best = tokens_seen, samples, writes_best
        self.best, self.waited, self.stopped_early = math.inf, 0, False
        self._process = psutil.Process()
        self._last = (time.perf_counter(), 0)

    def note_losses(self, losses: list[float]) -> None:
        """Restore the state of early stopping after a resume, from the validation losses before the interruption."""
        for loss in losses:
            self._compare(loss)

    def on_train_begin(self, args, state, control, **kwargs):
        self._last = (time.perf_counter(), self.tokens_seen())
        self.job.doing(Sentence("Learning"))

    def on_step_end(self, args, state, control, **kwargs):
        if self.job.stop_requested():
            control.should_training_stop = True
            control.should_save = self.job.request() != "discard"
            control.should_evaluate = False
        elif self.job.finish_requested():
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"
        elif state.max_steps and state.global_step >= state.max_steps:
            # Now, so that the last checkpoint records the validation loss and can be the best one.
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in logs:
            return
        now, tokens = time.perf_counter(), self.tokens_seen()
        seconds, fresh = now - self._last[0], tokens - self._last[1]
        self._last = (now, tokens)
        values = {
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "tokens": fresh,
            "seconds": seconds,
            "tokens_per_second": fresh / seconds if seconds else 0.0,
        }
        if "grad_norm" in logs:
            values["gradient_norm"] = logs["grad_norm"]
        self.job.store.add_metrics(self.job.run_id, state.global_step, {**values, **self._memory()})
        if not math.isfinite(logs["loss"]):
            raise StudioError(
                "The loss became {loss} at step {step}: the model broke. "
                "Use a learning rate of {rate:.1e} or less, or more warm-up, and start again.",
                loss=str(logs["loss"]),
                step=state.global_step,
                rate=self.training.learning_rate / 3,
            )

    def _memory(self) -> dict[str, int]:
        """Memory use in bytes. On a CPU, "allocated" is the process's resident memory, "reserved" its peak so far and
        "device" the memory in use on the machine.
        """
        if torch.cuda.is_initialized():
            free, total = torch.cuda.mem_get_info()
            return {
                "memory_allocated": torch.cuda.memory_allocated(),
                "memory_reserved": torch.cuda.memory_reserved(),
                "memory_device": total - free,
            }
        machine = psutil.virtual_memory()
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "memory_allocated": self._process.memory_info().rss,
            "memory_reserved": highest,
            "memory_device": machine.total - machine.available,
        }

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        loss = metrics["eval_loss"]
        self.job.store.add_metrics(self.job.run_id, state.global_step, metrics)
        if self._compare(loss):
            control.should_save = control.should_save or self.writes_best
        elif (
            self.training.early_stopping_patience
            and self.waited >= self.training.early_stopping_patience
            and state.global_step < state.max_steps
        ):
            self.stopped_early = control.should_training_stop = control.should_save = True
            self.job.log(
                Sentence(
                    "Stopped early at step {step}: "
                    "no better validation loss in {count} {count:evaluation|evaluations}.",
                    step=state.global_step,
                    count=self.waited,
                )
            )
        for sample in self.samples():
            self.job.store.add_event(
                "sample", {"step": state.global_step, **sample}, run_id=self.job.run_id, job_id=self.job.id
            )
        self._last = (time.perf_counter(), self.tokens_seen())  # exclude the evaluation from the next step's time

    def _compare(self, loss: float) -> bool:
        better = loss < self.best
        self.best, self.waited = (loss, 0) if better else (self.best, self.waited + 1)
        return better

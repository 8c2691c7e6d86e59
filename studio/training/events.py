"""The `TrainerCallback` that records a run: metrics of each step, evaluations, the learning-rate schedule and answers
to the sample prompts in the store, and the norms per layer in a file. It also stops the run, on request or early.

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
from studio.trackers.tracking import Tracking
from studio.training.layer_norms import LayerNorms
from studio.training.strategy.strategy import Strategy
from studio.words import Sentence, StudioError

_LOOK_EVERY = 1.0  # seconds between readings of the device, which the supervisor takes as often
_STALE = 5.0  # seconds after which a reading of the device is not of this step any more
_SCHEDULE_POINTS = 100
READINGS = {"busy": "utilisation", "temperature": "temperature", "power": "power"}
"""What the supervisor reads of a device → metric."""


class Events(TrainerCallback):
    """Records to the store.

    tokens_seen(): number of tokens trained on so far, without padding and with it (0 where inputs have none).
    samples(): answers to the fixed sample prompts. writes_best: whether a checkpoint is written at each new minimum of
    the validation loss. tracking: what other programs get. strategy: what adapts the run, if it does.
    Attributes: `loaded`, memory in bytes once the model was loaded; `norms`, the norms per layer.
    """

    def __init__(
        self,
        job: Job,
        training: Training,
        *,
        tokens_seen: Callable[[], tuple[int, int]],
        samples: Callable[[], list[dict]],
        writes_best: bool,
        tracking: Tracking,
        strategy: Strategy | None = None,
    ):
        self.job, self.training = job, training
        self.tokens_seen, self.samples, self.writes_best = tokens_seen, samples, writes_best
        self.best, self.waited, self.stopped_early = math.inf, 0, False
        self.tracking, self.strategy = tracking, strategy
        self.norms = LayerNorms(job.home.run(job.run_id))
        self._process = psutil.Process()
        self.loaded = self._memory()["memory_allocated"]
        self._last = (time.perf_counter(), 0, 0)
        self._first = True
        self._read_at = self._reading = 0.0

    def note_losses(self, losses: list[float]) -> None:
        """Restore the state of early stopping after a resume, from the validation losses before the interruption."""
        for loss in losses:
            self._compare(loss)

    def on_train_begin(self, args, state, control, model=None, lr_scheduler=None, **kwargs):
        self._last = (time.perf_counter(), *self.tokens_seen())
        self.tracking.first_step = state.global_step
        self._record(state.global_step, {"memory_load": self.loaded})
        self.norms.begin(model, state.global_step)
        ahead = planned_learning_rates(lr_scheduler, state.max_steps, args.get_warmup_steps(state.max_steps))
        self.job.store.add_event("schedule", {"points": ahead}, run_id=self.job.run_id, job_id=self.job.id)
        self.job.doing(Sentence("Learning"))

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        # Of the last moment before the gradients are gone. In fp16 without clipping they are still scaled.
        if self.norms.due(state.global_step + 1) and not (args.fp16 and not args.max_grad_norm):
            self.norms.collect()

    def on_step_end(self, args, state, control, **kwargs):
        if self.job.stop_requested():
            control.should_training_stop = True
            control.should_save = self.job.request() != "discard"
            # A run that adapts decides by its evaluations, so one that is due is not left out.
            control.should_evaluate = control.should_evaluate and self.strategy is not None and control.should_save
        elif self.job.finish_requested():
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"
        elif state.max_steps and state.global_step >= state.max_steps:
            # Now, so that the last checkpoint records the validation loss and can be the best one.
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in logs:
            return
        values = self._step_values(logs)
        recovered = self.strategy is not None and self.strategy.recovered == state.global_step
        if recovered:
            values = {name: value for name, value in values.items() if math.isfinite(value)}
        if "grad_norm" in logs and (math.isfinite(logs["grad_norm"]) or not recovered):
            values["gradient_norm"] = logs["grad_norm"]
        memory = self._memory()
        if self._first:
            values["memory_first_step"] = memory["memory_allocated"]
            self._first = False
        self._record(state.global_step, {**values, **memory, **self._device()})
        limit = self.training.max_grad_norm
        clipped = max(1.0, logs.get("grad_norm", 0.0) / limit) if limit else 1.0
        self.norms.write(state.global_step, values["seconds"], clipped)
        if not math.isfinite(logs["loss"]) and not recovered:
            raise StudioError(
                "The loss became {loss} at step {step}: the model broke. "
                "Use a learning rate of {rate:.1e} or less, or more warm-up, and start again.",
                loss=str(logs["loss"]),
                step=state.global_step,
                rate=self.training.learning_rate / 3,
            )

    def _step_values(self, logs: dict) -> dict[str, float]:
        """What one optimiser step is recorded with, but the gradient and the memory."""
        now = (time.perf_counter(), *self.tokens_seen())
        seconds, tokens, positions = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        return {
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "tokens": tokens,
            "seconds": seconds,
            "tokens_per_second": tokens / seconds if seconds else 0.0,
            **({"padding": 1 - tokens / positions} if positions else {}),
        }

    def _record(self, step: int, values: dict[str, float]) -> None:
        self.job.store.add_metrics(self.job.run_id, step, values)
        self.tracking.log(step, values)

    def _device(self) -> dict[str, float]:
        """The supervisor's newest reading of the device; empty where it is not new or there is no supervisor."""
        now = time.monotonic()
        if now - self._read_at < _LOOK_EVERY:
            return {}
        self._read_at = now
        note = self.job.store.note("memory") or {"time": 0.0, "devices": {}}
        if note["time"] <= self._reading or time.time() - note["time"] > _STALE:
            return {}
        self._reading = note["time"]
        told = note["devices"].get(self.job.device, {})
        return {name: told[key] for key, name in READINGS.items() if key in told}

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
        self._record(state.global_step, {**metrics, "memory_evaluation": self._memory()["memory_allocated"]})
        if self._compare(loss):
            control.should_save = control.should_save or self.writes_best
        elif (
            self.training.stops_after
            and self.waited >= self.training.stops_after
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
            if self.strategy:
                self.strategy.mark("stop", state.global_step)
        for sample in self.samples() if self._answers_due(args, state) else ():
            self.job.store.add_event(
                "sample", {"step": state.global_step, **sample}, run_id=self.job.run_id, job_id=self.job.id
            )
        self._last = (time.perf_counter(), *self.tokens_seen())  # exclude the evaluation from the next step's time

    def _answers_due(self, args, state) -> bool:
        """Whether the sample prompts are answered at this evaluation. A run that adapts evaluates more often than the
        recipe says, and answers as often as it says, and at the end.
        """
        if self.strategy is None:
            return True
        every = max(1, -(-state.max_steps // max(1, self.training.evaluations)))
        passed = state.global_step // every > (state.global_step - args.eval_steps) // every
        return state.global_step > 0 and (passed or state.global_step >= state.max_steps or self.stopped_early)

    def on_save(self, args, state, control, **kwargs):
        self._record(state.global_step, {"memory_checkpoint": self._memory()["memory_allocated"]})

    def _compare(self, loss: float) -> bool:
        better = loss < self.best
        self.best, self.waited = (loss, 0) if better else (self.best, self.waited + 1)
        return better


def planned_learning_rates(lr_scheduler, steps: int, climbing: int) -> list[list[float]]:
    """The learning rate planned for each step, as at most `_SCHEDULE_POINTS` and a few points [step, learning rate].

    Empty for a scheduler that is no function of the step. climbing: number of steps in which it climbs.
    """
    inner = getattr(lr_scheduler, "scheduler", lr_scheduler)  # accelerate wraps it
    if not steps or not hasattr(inner, "lr_lambdas"):
        return []
    evenly = {1 + round(at * (steps - 1) / _SCHEDULE_POINTS) for at in range(_SCHEDULE_POINTS + 1)}
    at_steps = sorted(evenly | {step for step in (climbing, climbing + 1) if 1 <= step <= steps})
    base, factor = inner.base_lrs[0], inner.lr_lambdas[0]
    return [[step, float(f"{base * factor(step - 1):.6g}")] for step in at_steps]

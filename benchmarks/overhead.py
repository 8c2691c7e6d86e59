"""What recording costs: the same trainer with and without the event callback and its store, interleaved.

    python benchmarks/overhead.py [--rounds 40] [--gpu] [--save]

The starter learns the captain sample with LoRA r=8 through the worker's own `build`, evaluations off, one
line of log a step in both arms. The run is one `trainer.train()`, cut into segments of one epoch; between segments the
`Events` callback is taken out of the trainer (B) or put back (A: every step is written to a real store on disk). A
round is A, B and C, which is B once more, in an order that changes from round to round (A B C, C B A, B C A …). Every
epoch sees the same batches in the same order, so that all arms compute exactly the same.

Figures: A's time over B's in the same round, as the median over the rounds, with a 95 % interval (bootstrap); 1.02 is
2 % more. CPU time (`time.process_time`: all threads, store included) is the steadier figure on a machine that others
use too; wall time, in tokens/s, is what a person feels. C over B is the control: its true value is 1, so what it shows
is noise, and A over B is known no better than that. Therefore the last epochs, which count in no arm, also measure
directly: the time inside the callback over the time of the rest. It knows nothing about evaluations, whose cost is
wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from transformers import TrainerCallback

from studio import hardware
from studio.home import STARTER, Home
from studio.jobs.job import Job
from studio.presets import preset
from studio.recipe import recipe_from
from studio.store import Store
from studio.trackers.tracking import Tracking
from studio.training.events import Events
from studio.training.kinds import kind_of
from studio.training.trainer import StudioTrainer
from studio.training.worker import build

TARGET = 1.02
WARM_UP, INSIDE = 4, 10  # segments
RESULTS = Path(__file__).resolve().parent / "results"


class Segments(TrainerCallback):
    """Times every epoch and decides whether `events` takes part in the next one. Stands first among the callbacks."""

    def __init__(self, trainer: StudioTrainer, arms: list[str]):
        self.trainer, self.arms, self.rows = trainer, arms, []
        self.events, self.inside = trainer.events, Inside(trainer.events)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._arm = self.arms[len(self.rows)]
        handler, taking_part = (
            self.trainer.callback_handler,
            {"A": [self.events], "I": [self.inside]}.get(self._arm, []),
        )
        handler.callbacks = [
            callback for callback in handler.callbacks if callback not in (self.events, self.inside)
        ] + taking_part
        self._began = self._now(state)

    def on_epoch_end(self, args, state, control, **kwargs):
        change = [after - before for after, before in zip(self._now(state), self._began, strict=True)]
        self.rows.append({"arm": self._arm, **dict(zip(("wall", "cpu", "steps", "tokens"), change, strict=True))})

    def _now(self, state) -> tuple[float, float, int, int]:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time(), state.global_step, self.trainer.tokens_seen


class Inside(TrainerCallback):
    """`events`, with the time spent in it added up: wall and this thread's CPU time, in seconds."""

    def __init__(self, events: Events):
        self.events, self.wall, self.cpu = events, 0.0, 0.0

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self._time(self.events.on_pre_optimizer_step, args, state, control, **kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        self._time(self.events.on_step_end, args, state, control, **kwargs)

    def on_log(self, args, state, control, **kwargs):
        self._time(self.events.on_log, args, state, control, **kwargs)

    def _time(self, call, *args, **kwargs) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        call(*args, **kwargs)
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.thread_time() - cpu


def order(rounds: int) -> list[str]:
    """The arm of every segment: warm-up (A), the rounds in all orders of A, B and C, and some that measure inside
    (I)."""
    orders = ("ABC", "CBA", "BCA", "ACB", "CAB", "BAC")
    return ["A"] * WARM_UP + [arm for at in range(rounds) for arm in orders[at % len(orders)]] + ["I"] * INSIDE


def prepared(home: Home, device: str, rows: int, segments: int) -> StudioTrainer:
    """The trainer as a worker makes it for the captain preset, `segments` epochs long, every epoch alike."""
    values = preset("captain").values
    training = {**values["training"], "epochs": segments, "evaluations": 0, "sample_prompts": 0, "save_steps": 100_000}
    recipe = recipe_from({**values, "data": {**values["data"], "max_rows": rows}, "training": training})
    store = Store(home.database)
    _, job_id = store.create_run("overhead", recipe.to_dict(), device)
    job = Job(store.job(job_id), store, home)
    kind = kind_of(job, recipe, STARTER)
    trainer = build(job, recipe, STARTER, kind, kind.prepare(), Tracking(job, [], None))
    sampler = trainer._get_train_sampler()
    sampler.set_epoch = lambda epoch: None
    trainer._get_train_sampler = lambda *_: sampler
    return trainer


def ratios(rows: list[dict], key: str, arm: str) -> np.ndarray:
    """The time of `arm` over B's in each round."""
    rounds = [{row["arm"]: row for row in rows[at : at + 3]} for at in range(0, len(rows), 3)]
    return np.array([by[arm][key] / by["B"][key] for by in rounds])


def interval(values: np.ndarray, resamples: int = 10_000) -> tuple[float, float, float]:
    """The median and the bounds of its 95 % interval."""
    drawn = np.random.default_rng(0).choice(values, (resamples, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(np.median(values)), float(low), float(high)


def measure(device: str, rounds: int, rows: int, threads: int | None = None) -> dict:
    """All figures of one run. threads: None leaves what the worker chose for this model."""
    arms = order(rounds)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        trainer = prepared(Home(folder), device, rows, len(arms))
        if threads:
            torch.set_num_threads(threads)
        segments = Segments(trainer, arms)
        trainer.callback_handler.callbacks.insert(0, segments)
        trainer.train()
        rows = trainer.events.job.store.metrics(trainer.events.job.run_id)
        written = [row for row in rows if "loss" in row["values"]]
    found = segments.rows
    # The proof that both arms did the same work and that only one of them recorded it.
    assert len({(row["steps"], row["tokens"]) for row in found}) == 1, found
    assert len(written) == sum(row["steps"] for row in found if row["arm"] in "AI")
    return figures_of(found, segments.inside)


def figures_of(rows: list[dict], inside: Inside) -> dict:
    """What the segments say."""
    compared, last = rows[WARM_UP:-INSIDE], rows[-INSIDE:]
    steps, tokens = last[0]["steps"], last[0]["tokens"]
    figures = {
        "threads": torch.get_num_threads(),
        "segments": len(compared),
        "steps_per_segment": steps,
        "tokens_per_segment": tokens,
    }
    for key in ("cpu", "wall"):
        for arm, name in (("A", "ratio"), ("C", "control")):
            median, low, high = interval(ratios(compared, key, arm))
            figures[f"{key}_{name}"] = {"median": round(median, 4), "low": round(low, 4), "high": round(high, 4)}
        figures[f"{key}_ratio"]["within"] = figures[f"{key}_ratio"]["median"] <= TARGET
    for arm in "AB":
        own = [row for row in compared if row["arm"] == arm]
        figures[f"{arm}_ms_per_step"] = {
            key: round(1000 * statistics.median(row[key] / steps for row in own), 2) for key in ("cpu", "wall")
        }
        figures[f"{arm}_tokens_per_second"] = round(statistics.median(tokens / row["wall"] for row in own))
    for key in ("cpu", "wall"):
        spent, whole = getattr(inside, key), sum(row[key] for row in last)
        figures[f"inside_{key}"] = {
            "microseconds_per_step": round(1e6 * spent / (steps * INSIDE)),
            "share_of_the_rest": round(spent / (whole - spent), 5),
        }
    return figures


def surroundings(device: str) -> dict:
    """Machine, date and command."""
    found = hardware.machine()
    gpu = torch.cuda.get_device_name() if device != "cpu" else None
    return {
        "machine": platform.node(),
        "cpu": found.cpu,
        "cores": found.cores,
        "gpu": gpu,
        "torch": torch.__version__,
        "load": [round(load, 1) for load in os.getloadavg()],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/overhead.py", *sys.argv[1:]]),
    }


def show(figures: dict) -> None:
    """Print the figures for a person."""
    for key, title in (("cpu", "CPU time (the steadier one)"), ("wall", "wall time")):
        ratio, control = figures[f"{key}_ratio"], figures[f"{key}_control"]
        a, b = figures["A_ms_per_step"][key], figures["B_ms_per_step"][key]
        print(
            f"{title}: with {a} ms, without {b} ms a step; ratio {ratio['median']:.4f}, 95 % interval "
            f"{ratio['low']:.4f} to {ratio['high']:.4f}: "
            f"{'within' if ratio['within'] else 'ABOVE'} {TARGET} (control {control['median']:.4f}, "
            f"{control['low']:.4f} to {control['high']:.4f})"
        )
    print(
        f"threads: {figures['threads']}; tokens/s (wall): with {figures['A_tokens_per_second']:,}, without "
        f"{figures['B_tokens_per_second']:,}"
    )
    cpu, wall = figures["inside_cpu"], figures["inside_wall"]
    print(
        f"inside the callback: {cpu['microseconds_per_step']} µs CPU a step ({cpu['share_of_the_rest']:.2%} of the "
        "rest), "
        f"{wall['microseconds_per_step']} µs wall ({wall['share_of_the_rest']:.2%})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=40, help="of three segments, one with and two without the callback"
    )
    parser.add_argument("--rows", type=int, default=80, help="examples a segment; eight make a step")
    parser.add_argument("--threads", type=int, help="torch's threads on the CPU (default: what the worker chooses)")
    parser.add_argument("--gpu", action="store_true", help="on the first GPU instead of the CPU")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/overhead-cpu.json or -gpu.json")
    options = parser.parse_args()
    device = "cuda:0" if options.gpu else "cpu"
    before = surroundings(device)
    print(json.dumps(before))
    figures = measure(device, options.rounds, options.rows, options.threads)
    show(figures)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"overhead-{'gpu' if options.gpu else 'cpu'}.json"
        path.write_text(
            json.dumps({**before, "load_after": round(os.getloadavg()[0], 1), "figures": figures}, indent=1) + "\n",
            encoding="utf-8",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

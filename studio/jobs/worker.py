"""The worker's work: claim one job, run its function, write the final word, leave.

`python -m studio.jobs.worker HOME JOB`. A job's function is `def function(job: Job) -> dict | None`. It returns
a result (done), raises `Stopped` (stopped), raises a `StudioError` (failed, with its sentence) or anything
else (failed, with the traceback as an event). This module knows nothing about what the functions do, and
imports each only in the process that runs it.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable

from studio.home import Home
from studio.jobs import failure_reasons, processes
from studio.jobs.job import Job, Stopped
from studio.store import Store
from studio.words import Sentence, StudioError

KINDS = {
    "train": "studio.training.worker:train",
    "chat": "studio.chat.server:serve",
    "inspect": "studio.models.inspect:inspect",
    "export": "studio.library.export:export",
}
# More kinds, or other functions for these, as "kind=module:function,…": how the tests bring their own jobs.
EXTRA_KINDS = "DELTA_STUDIO_EXTRA_KINDS"
_FINAL_WORD_TRIES = 20  # seconds to wait for a locked or full disk; after that the supervisor speaks for the job


def function_of(kind: str) -> Callable[[Job], dict | None]:
    """The function that does jobs of this kind. Imports its module."""
    extra = os.environ.get(EXTRA_KINDS, "")
    kinds = KINDS | dict(entry.split("=", 1) for entry in extra.split(",") if entry)
    if kind not in kinds:
        raise StudioError(
            "There is no job of the kind '{kind}': it can be one of {kinds}.", kind=kind, kinds=", ".join(kinds)
        )
    module, _, name = kinds[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def run_job(home: Home, job_id: int) -> int:
    """Run the job in this process. Returns the exit code: 0 done, stopped or no longer wanted, 1 failed."""
    store = Store(home.database)
    # The claim is one atomic update: whatever two supervisors may have thought, one worker gets the job.
    if not store.job_started(job_id, *processes.current_process()):
        print(f"job {job_id} is no longer queued")
        return 0
    job = Job(store.job(job_id), store, home)
    signal.signal(signal.SIGTERM, lambda *_: job.ask_to_stop())
    restrict_visible_devices(job.device)
    state, reason, result = _outcome(job)
    _say_final_word(job, state, reason, result)
    return 1 if state == "failed" else 0


def restrict_visible_devices(device: str) -> None:
    """Hide every GPU but the job's own, before CUDA is initialised: a CPU job must take no GPU memory, and
    transformers' Trainer would spread over all GPUs that it sees."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # numbered as nvidia-smi numbers them
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        index = int(device.removeprefix("cuda:"))
        given = [entry for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry]
        os.environ["CUDA_VISIBLE_DEVICES"] = given[index] if index < len(given) else str(index)


def _outcome(job: Job) -> tuple[str, Sentence | None, dict | None]:
    """Run the job's function and put into (state, reason, result) what became of it."""
    try:
        result = function_of(job.kind)(job)
        return "done", None, result
    except Stopped:
        return "stopped", None, None
    except BaseException as error:  # also SystemExit: a library that calls sys.exit must not look like success
        report = traceback.format_exc()
        print(report, file=sys.stderr, flush=True)
        reason = failure_reasons.reason_of_exception(error, job.home.root)
        try:
            job.store.add_event("traceback", {"text": report}, run_id=job.run_id, job_id=job.id)
        except sqlite3.OperationalError as full:
            print(f"the traceback stands only here: {full}", file=sys.stderr)
        return "failed", reason, None


def _say_final_word(job: Job, state: str, reason: Sentence | None, result: dict | None) -> None:
    """Write how the job ended. A full disk may leave room a moment later, so it is tried for a while."""
    for left in reversed(range(_FINAL_WORD_TRIES)):
        try:
            job.store.job_ended(job.id, state, reason.to_json() if reason else None, result)
            return
        except sqlite3.OperationalError as error:
            print(
                f"the final word '{state}' could not be written ({error}); {left} tries left",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(1)


def run_and_leave(home: Home, job_id: int) -> None:
    """`work`, then leave at once: memory is back in milliseconds, and no thread can hold the process."""
    # Without this, what a crash inside a C library leaves in the log is nothing.
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)
    code = 1
    try:
        code = run_job(home, job_id)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    run_and_leave(Home(sys.argv[1]), int(sys.argv[2]))

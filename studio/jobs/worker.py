"""The worker process: claim one job, run its function, record the outcome, exit.

`python -m studio.jobs.worker HOME JOB`. A job's function is `def function(job: Job) -> dict | None`. The job is done if
it returns, stopped or paused if it raises `Stopped`, and failed if it raises anything else: with the sentence of a
`StudioError`, or a general message; the traceback is stored as an event. The module is imported only to run the job.
"""

from __future__ import annotations

import contextlib
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
from studio.jobs import failure_reasons, processes, queue
from studio.jobs.job import Job, Stopped
from studio.store import STOPPING, Store
from studio.words import Sentence, StudioError

KINDS = {
    "train": "studio.training.worker:train",
    "chat": "studio.chat.server:serve",
    "inspect": "studio.models.inspect:inspect",
    "export": "studio.export.job:export",
    "checkpoint": "studio.training.checkpoint_adapter:make",
    "import": "studio.library.importing:import_adapter",
    "blend": "studio.merging.jobs:blend",
    "convert": "studio.merging.jobs:convert",
    "switch": "studio.merging.jobs:switch",
    "search": "studio.search.driver:search",
    "judge": "studio.search.judge:judge",
}
# Environment variable with additional or replaced kinds, "kind=module:function,…"; used by the tests.
EXTRA_KINDS = "DELTA_STUDIO_EXTRA_KINDS"
_FINAL_WORD_TRIES = 20  # one a second, for a full disk or locked database; then the supervisor records the outcome


def function_of(kind: str) -> Callable[[Job], dict | None]:
    """Import and return the function for jobs of this kind. Raises `StudioError` for an unknown kind."""
    extra = os.environ.get(EXTRA_KINDS, "")
    kinds = KINDS | dict(entry.split("=", 1) for entry in extra.split(",") if entry)
    if kind not in kinds:
        raise StudioError(
            "There is no job of the kind '{kind}': it can be one of {kinds}.", kind=kind, kinds=", ".join(kinds)
        )
    module, _, name = kinds[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def run_job(home: Home, job_id: int) -> int:
    """Run the job in this process. Returns the exit code: 0 if done, stopped or no longer queued, 1 if failed."""
    store = Store(home.database)
    # The claim is one atomic update, so only one worker gets the job even if two supervisors have started it.
    if not store.job_started(job_id, *processes.current_process()):
        print(f"job {job_id} is no longer queued")
        return 0
    job = Job(store.job(job_id), store, home)
    signal.signal(signal.SIGTERM, lambda *_: job.ask_to_stop())
    if job.kind not in queue.LIGHT:
        restrict_visible_devices(job.device)
    state, reason, result = _outcome(job)
    _say_final_word(job, state, reason, result)
    return 1 if state == "failed" else 0


def restrict_visible_devices(device: str) -> None:
    """Hide all GPUs but that of the job; to be called before CUDA is initialised.

    A CPU job must not take GPU memory, and transformers' Trainer would use all visible GPUs.
    """
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the numbering of nvidia-smi
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        index = int(device.removeprefix("cuda:"))
        given = [entry for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry]
        os.environ["CUDA_VISIBLE_DEVICES"] = given[index] if index < len(given) else str(index)


def _outcome(job: Job) -> tuple[str, Sentence | None, dict | None]:
    """Run the job's function; returns (state, reason, result)."""
    try:
        result = function_of(job.kind)(job)
        return "done", None, result
    except Stopped:
        request = job.request() or "stop"
        return STOPPING.get(request, "stopped"), None, {"discarded": True} if request == "discard" else None
    except BaseException as error:  # also SystemExit: sys.exit in a library is a failure
        report = traceback.format_exc()
        _log(report)
        reason = failure_reasons.reason_of_exception(error, job.home.root)
        try:
            job.store.add_event("traceback", {"text": report}, run_id=job.run_id, job_id=job.id)
        except sqlite3.OperationalError as full:
            _log(f"the traceback stands only here: {full}")
        return "failed", reason, None


def _say_final_word(job: Job, state: str, reason: Sentence | None, result: dict | None) -> None:
    """Record the outcome of the job, with retries, because the disk may be full only for a moment."""
    for left in reversed(range(_FINAL_WORD_TRIES)):
        try:
            job.store.job_ended(job.id, state, reason.to_json() if reason else None, result)
            return
        except sqlite3.OperationalError as error:
            _log(f"the final word '{state}' could not be written ({error}); {left} tries left")
            time.sleep(1)


def _log(text: str) -> None:
    """Write to the job's log, which may be on the full disk of which it tells; the outcome must not depend on it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def run_and_leave(home: Home, job_id: int) -> None:
    """`run_job`, then exit by `os._exit`, which frees memory at once and does not wait for threads."""
    # Writes a traceback to the log if a C library crashes.
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)
    code = 1
    try:
        code = run_job(home, job_id)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    run_and_leave(Home(sys.argv[1]), int(sys.argv[2]))

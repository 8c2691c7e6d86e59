"""A warm standby: imports what workers need, says so, and waits on stdin for its one job.

`python -m studio.jobs.standby HOME`. Importing torch, transformers and peft takes five seconds or more; a
standby has that behind it when the person presses Start. It never initialises CUDA, so it holds no GPU memory
and can still be given any device. It belongs to no parent: with its job it is a worker like any other, and
outlives the supervisor; without one, the end of stdin is its end. It knows nothing about what the job will
be.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys

from studio.home import Home
from studio.jobs import worker
from studio.jobs.job import log_path

WARM_IMPORTS = ("torch", "transformers", "transformers.trainer", "peft", "studio.training.worker", "studio.chat.server")
IMPORTS = "DELTA_STUDIO_STANDBY_IMPORTS"  # "a,b" instead of the list above; "" for none
READY = b"ready\n"


def warm_up() -> None:
    """Import what workers need. A module that is missing is left out; a broken one raises."""
    names = os.environ.get(IMPORTS)
    for name in WARM_IMPORTS if names is None else names.split(","):
        try:
            module = importlib.import_module(name) if name else None
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)  # the job that needs it will say so
            continue
        if name == "studio.training.worker" and hasattr(module, "warm_up"):
            module.warm_up()
    gc.collect()
    gc.freeze()  # a quarter of a million objects that stay: no later collection need walk through them


def main(home: Home) -> None:
    # transformers and peft may ask whether there is a GPU; through NVML, torch can tell without CUDA.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    tell = os.dup(1)
    os.dup2(2, 1)  # what an import prints belongs in the log, not into the answer
    warm_up()
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone; stdin will say what follows from that
        os.write(tell, READY)
    os.close(tell)
    line = sys.stdin.readline()
    if not line:
        return
    job_id = int(json.loads(line)["job"])
    become_worker(home, job_id)
    worker.run_and_leave(home, job_id)


def become_worker(home: Home, job_id: int) -> None:
    """From here on, input is empty and output goes to the job's own log."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "rb") as nothing, open(log_path(home, job_id), "ab") as log:
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source.fileno(), target)


if __name__ == "__main__":
    main(Home(sys.argv[1]))

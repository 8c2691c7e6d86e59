"""The standby process: it imports what workers need, reports that it is ready, and waits on stdin for one job.

`python -m studio.jobs.standby HOME`. Importing torch, transformers and peft takes five seconds or more; a standby has
done that before the user presses Start. It never initialises CUDA, so it uses no GPU memory and can be assigned to any
device. With a job it becomes an ordinary worker, which outlives the supervisor; without one it exits when stdin is
closed.
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
IMPORTS = "DELTA_STUDIO_STANDBY_IMPORTS"  # environment variable: "a,b" replaces the list above; "" imports nothing
READY = b"ready\n"


def warm_up() -> None:
    """Import what workers need. A missing module is skipped; an error inside a module is raised."""
    names = os.environ.get(IMPORTS)
    for name in WARM_IMPORTS if names is None else names.split(","):
        try:
            module = importlib.import_module(name) if name else None
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)  # a job that needs it will fail with this error
            continue
        if name == "studio.training.worker" and hasattr(module, "warm_up"):
            module.warm_up()
    gc.collect()
    gc.freeze()  # exclude these quarter of a million permanent objects from later garbage collections


def main(home: Home) -> None:
    # transformers and peft check for a GPU when imported; through NVML torch can do that without initialising CUDA.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    tell = os.dup(1)
    os.dup2(2, 1)  # output printed by imports goes to the log, not to the supervisor's pipe
    warm_up()
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone; a job that it has sent is still run
        os.write(tell, READY)
    os.close(tell)
    line = sys.stdin.readline()
    if not line:
        return
    job_id = int(json.loads(line)["job"])
    become_worker(home, job_id)
    worker.run_and_leave(home, job_id)


def become_worker(home: Home, job_id: int) -> None:
    """Redirect stdin to /dev/null, and stdout and stderr to the job's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "rb") as nothing, open(log_path(home, job_id), "ab") as log:
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source.fileno(), target)


if __name__ == "__main__":
    main(Home(sys.argv[1]))

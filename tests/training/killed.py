"""A process that has torch loaded and does nothing but fork: each fork works on a job until it is killed (kill -9).

    python -m tests.training.killed

Reads a request a line, {"home", "job", "after"}: the job's process is gone once step `after` is recorded. Answers with
its exit code. A process that has worked itself, such as one that runs tests, cannot fork like that: its threads would
be missing in the child.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path


def work(home: Path, job_id: int, after: int) -> None:
    """Ends with this process."""
    from studio.home import Home
    from studio.store import Store
    from studio.training.worker import train
    from tests.training.runs import StoppingJob

    class KilledJob(StoppingJob):
        def stop_requested(self) -> bool:
            if super().stop_requested():
                os.kill(os.getpid(), signal.SIGKILL)
            return False

    os.dup2(2, 1)  # what it prints is no answer
    try:
        made = Home(home)
        store = Store(made.database)
        job = KilledJob(store.job(job_id), store, made)
        job.after = after
        train(job)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers.trainer  # noqa: F401

    import studio.training.worker  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            work(Path(asked["home"]), asked["job"], asked["after"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()

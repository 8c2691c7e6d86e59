"""Jobs for the tests, named to the workers by DELTA_STUDIO_EXTRA_KINDS. `payload["act"]` says what to do."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from studio.jobs.job import Job, Stopped
from studio.words import Sentence, StudioError


def act(job: Job):
    job.store.add_event(
        "began", {"time": time.time(), "torch": "torch" in sys.modules}, run_id=job.run_id, job_id=job.id
    )
    return globals()[job.payload.get("act", "answer")](job)


def answer(job):
    print("printed by the job")
    job.doing(Sentence("Counting to {n}", n=3))
    job.log("one, two, three")
    return {"answer": 42}


def wait(job):
    """Until Stop, or until the file payload["until"] exists."""
    until = job.payload.get("until")
    while not (until and Path(until).exists()):
        job.check_stop()
        time.sleep(0.01)
    return {"waited": True}


def stubborn(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with_child(job)


def deaf(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def with_child(job):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    job.result({"child": child.pid})
    while True:
        time.sleep(0.05)


def leave_child(job):
    return {"child": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid}


def hang_after_final_word(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    job.store.job_ended(job.id, "done", result={})
    time.sleep(600)


def seen_devices(job):
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "torch_device": job.torch_device}


def terminated(job):
    os.kill(os.getpid(), signal.SIGTERM)
    while not job.stop_requested():
        time.sleep(0.01)
    raise Stopped


def disk_full(job):
    raise OSError(errno.ENOSPC, "No space left on device", "/data/checkpoint-40/adapter_model.safetensors")


def hidden_disk_full(job):
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise RuntimeError("could not serialise") from error


def no_memory(job):
    raise MemoryError("tried to allocate 9.8 GB")


def known(job):
    raise StudioError("The file {name} has no rows.", name="a.csv")


def unknown(job):
    raise ValueError("seven is not a colour.\nsecond line")


def exits(job):
    sys.exit(0)


def segfault(job):
    os.kill(os.getpid(), signal.SIGSEGV)


def heavy(job):
    import torch

    return {"torch": torch.__version__, "cuda_initialized": torch.cuda.is_initialized()}

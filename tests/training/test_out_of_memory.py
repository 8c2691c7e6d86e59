"""A worker whose memory is limited: what it needed is recorded, the diagnosis names a batch that fits, and it does."""

import pytest

from studio.diagnosis import Evidence, diagnose
from studio.forecast import changed
from studio.recipe import recipe_from
from studio.training.memory_report import asked_bytes, fitting
from studio.words import Sentence
from tests.conftest import REPOSITORY
from tests.fresh import workers
from tests.training.runs import SHORT

# A worker that can take ROOM bytes more than its imports have.
LIMITED = """
import resource, sys
import torch
import studio.training.worker
from studio.home import Home
from studio.jobs.worker import run_job
studio.training.worker.warm_up()
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
run_job(Home(sys.argv[1]), int(sys.argv[2]))
"""
ROOM = 700_000_000


def work(runs, recipe) -> str:
    run_id, job_id = runs.store.create_run("test", recipe.to_dict(), "cpu")
    workers().run(LIMITED, str(runs.home.root), str(job_id), str(ROOM), cwd=REPOSITORY)
    return run_id


@pytest.mark.slow
def test_the_remedy_for_a_real_lack_of_memory_fits(runs):
    training = {**SHORT, "batch_size": 400, "max_steps": 1, "evaluations": 0, "evaluation_rows": 0, "max_length": 128}
    recipe = recipe_from({"data": {"source": "captain"}, "training": training})
    run_id = work(runs, recipe)
    run = runs.store.run(run_id)
    assert run["state"] == "failed" and run["reason"]["text"].startswith("Not enough memory"), run["reason"]
    memory = runs.store.events(run_id, kind="memory")[-1]["data"]
    assert memory["needed"] > memory["free"] > ROOM and 1 <= memory["batch_size"] < 400
    (found,) = diagnose(Evidence(recipe, "failed", Sentence.from_json(run["reason"]), {}, 1, memory))
    assert found.rule == "out_of_memory"
    mended = changed(recipe, found.remedies[0].changes)
    assert mended.training.effective_batch >= 400  # the same steps, in smaller parts
    again = runs.store.run(work(runs, mended))
    assert again["state"] == "done", again["reason"]


def test_sizes_in_messages():
    assert asked_bytes("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.") == 4096
    assert asked_bytes("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has") == int(2.5 * 2**30)
    assert asked_bytes("no size") == 0


def test_the_batch_is_halved_until_it_fits():
    recipe = recipe_from({"training": {"batch_size": 32}})
    assert fitting(recipe, needed=100, by_batch=80, room=65) == (4, False)
    assert fitting(recipe, needed=100, by_batch=80, room=30) == (1, False)
    assert fitting(recipe, needed=100, by_batch=80, room=10) == (1, True)

import json
import os
import subprocess
import sys

import pytest

from studio.home import STARTER
from tests.conftest import REPOSITORY
from tests.training.runs import Runs


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "home")


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """The suite's shelf, with the adapters that some methods build on."""
    from tests.methods.method_cases import Shelf

    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def stock_peft(tmp_path_factory):
    """ask(folder, own=…, whole=…, quantisation=…) → logits that a process without the studio (own: with its tuners
    only) gets from an artefact."""
    import torch

    from tests.methods.method_cases import IDS

    answer, started = tmp_path_factory.mktemp("stranger") / "logits.pt", {}

    def ask(folder, *, own: bool, whole: bool, quantisation: str | None) -> torch.Tensor:
        if own not in started:
            command = [
                sys.executable,
                str(REPOSITORY / "tests" / "methods" / "stock_peft_process.py"),
                *(["own"] if own else []),
            ]
            started[own] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=folder,
                env=os.environ | ({"PYTHONPATH": str(REPOSITORY)} if own else {}),
            )
            assert started[own].stdout.readline().strip() == "ready"
        request = {
            "base": str(STARTER),
            "folder": str(folder),
            "whole": whole,
            "quantisation": quantisation,
            "ids": IDS.tolist(),
            "answer": str(answer),
        }
        started[own].stdin.write(json.dumps(request) + "\n")
        started[own].stdin.flush()
        message = started[own].stdout.readline().strip()
        assert message == "ok", message
        return torch.load(answer)

    yield ask
    for process in started.values():
        process.stdin.close()
        process.wait(20)

"""A studio of its own for each test: a temporary home, dummy jobs, and nothing left running after it."""

from pathlib import Path

import pytest

from studio.home import Home
from studio.jobs import standby, worker
from tests.jobs.jobs_helpers import Studio, end_everything

HERE = Path(__file__).parent


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setenv(
        worker.EXTRA_KINDS, ",".join(f"{kind}=dummy_jobs:act" for kind in ("train", "chat", "inspect", "probe"))
    )
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv(standby.IMPORTS, "")
    home = Home(tmp_path / "home")
    made = Studio(home)
    yield made
    made.store.close()
    end_everything(home)

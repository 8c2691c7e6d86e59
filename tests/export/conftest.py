"""A home for the exports of each test, and one process that reads all of them back."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from studio.export import adapter_zip, gguf_lora, gguf_model, merge
from studio.export.job import export
from studio.export.proof import Reader
from studio.home import Home
from studio.jobs.job import Job
from studio.store import Store

torch.set_num_threads(1)


@cache
def _started(own: bool) -> Reader:
    return Reader(own)


class SharedReader:
    """In place of `Reader`: a process of its own for each export would take the tests five seconds each."""

    def __init__(self, own: bool = False):
        self.reader = _started(own)

    def __enter__(self) -> Reader:
        return self.reader

    def __exit__(self, *_) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def _end_readers():
    yield
    if _started.cache_info().currsize:
        for own in (False, True):
            _started(own).__exit__()


@pytest.fixture
def shared_reader(monkeypatch):
    for module in (adapter_zip, gguf_lora, gguf_model, merge):
        monkeypatch.setattr(module, "Reader", SharedReader)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A tiny base model, and a LoRA, an (IA)³ and a prompt over it."""
    from tests.chat.tiny_models import make_models

    return make_models(tmp_path_factory.mktemp("models"), "lora", "ia3", "prompt", "dora")


def run_export(home: Home, store: Store, adapter: str, target: str, job: type[Job] = Job, **options) -> dict:
    """Run an export job in this process; returns its result."""
    number = store.queue_job("export", {"adapter": adapter, "target": target, "options": options})
    return export(job(store.job(number), store, home))

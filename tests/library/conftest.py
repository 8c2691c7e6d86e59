from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from studio.home import Home
from studio.store import Store

sys.path.insert(0, str(Path(__file__).parent.parent / "chat"))
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A tiny base model, and a LoRA, an (IA)³ and a prompt over it."""
    from tiny_models import make_adapter, make_model

    root = tmp_path_factory.mktemp("models")
    base = make_model(root / "base")
    for kind in ("lora", "ia3", "prompt"):
        make_adapter(base, root / kind, kind)
    return root


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store(home):
    return Store(home.database)

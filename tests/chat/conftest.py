"""A tiny base model and an adapter of each kind, made once a session; and a home with all of them in its library."""

from __future__ import annotations

import pytest
import torch

from studio.home import Home
from studio.library import adapter_store
from studio.store import Store
from tests.chat.tiny_models import make_adapter, make_model

torch.set_num_threads(1)  # faster than two threads for such small models


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with base, whole (another model of its shape), and an adapter of each kind, two of LoRA."""
    root = tmp_path_factory.mktemp("models")
    base = make_model(root / "base")
    make_model(root / "whole", seed=7)
    for kind in ("lora", "dora", "bias", "ia3", "prompt", "p_tuning", "prefix", "ensemble"):
        make_adapter(base, root / kind, kind)
    make_adapter(base, root / "lora2", "lora", seed=5)
    return root


@pytest.fixture(scope="session")
def adapter_home(models, tmp_path_factory):
    """A home with all of them in its library, each under its folder's name."""
    home = Home(tmp_path_factory.mktemp("home"))
    store = Store(home.database)
    for folder in sorted(models.iterdir()):
        if folder.name != "base":
            kind = "model" if folder.name == "whole" else "adapter"
            card = {"kind": kind, "method": folder.name, "base": str(models / "base"), "task": "chat"}
            adapter_store.add(home, store, source=folder, name=folder.name, run_id=folder.name, card=card)
    return home

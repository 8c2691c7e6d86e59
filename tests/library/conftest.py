from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A tiny base model, and a LoRA, an (IA)³ and a prompt over it."""
    from tests.chat.tiny_models import make_models

    return make_models(tmp_path_factory.mktemp("models"), "lora", "ia3", "prompt")

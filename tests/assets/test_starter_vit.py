"""The starter for pictures is an ordinary small ViT folder with the accuracy that its card states."""

import json
import sys

import pytest
import torch

from studio.home import STARTER_VIT


def test_it_is_small_and_stock():
    from transformers import AutoModelForImageClassification

    assert sum(path.stat().st_size for path in STARTER_VIT.iterdir() if path.is_file()) <= 2_000_000
    model = AutoModelForImageClassification.from_pretrained(STARTER_VIT)
    assert model.config.model_type == "vit" and model.num_parameters() < 1_000_000 and len(model.config.id2label) == 8


@torch.no_grad()
def test_the_card_scores_are_reproduced(monkeypatch):
    from transformers import AutoModelForImageClassification

    monkeypatch.syspath_prepend(str(STARTER_VIT))
    known = set(sys.modules)
    from make import SEED, pictures

    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(STARTER_VIT)):
            monkeypatch.delitem(sys.modules, name)
    scores = json.loads((STARTER_VIT / "scores.json").read_text())
    model = AutoModelForImageClassification.from_pretrained(STARTER_VIT, dtype=torch.float32).eval()
    pixels, kinds = pictures(256, SEED + 1)
    right = (model(pixels).logits.argmax(-1) == kinds[:, 0]).float().mean().item()
    assert (
        right == pytest.approx(scores["shape"], abs=0.08)
        and f"shape {scores['shape']:.1%}" in (STARTER_VIT / "README.md").read_text()
    )

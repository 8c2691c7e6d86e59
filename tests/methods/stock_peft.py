"""What stock peft makes of an artefact."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from studio.home import STARTER
from tests.conftest import REPOSITORY
from tests.fresh import fresh_python

PROGRAM = Path(__file__).with_name("stock_peft_process.py")


def stock_peft_logits(
    folder: Path, ids: torch.Tensor, *, own: bool = False, whole: bool = False, quantisation: str | None = None
) -> torch.Tensor:
    """Logits of `ids` [batch, length] that a fresh process without the studio (own: with its tuners only) gets from the
    artefact in `folder` over the starter. whole: the artefact is a model of its own."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as answer:
        request = {
            "base": str(STARTER),
            "folder": str(folder),
            "whole": whole,
            "quantisation": quantisation,
            "ids": ids.tolist(),
            "answer": answer.name,
            "studio": str(REPOSITORY) if own else None,
        }
        ran = fresh_python(PROGRAM.read_text(encoding="utf-8"), json.dumps(request), cwd=folder)
        assert ran.returncode == 0, ran.stderr[-2000:]
        return torch.load(answer.name)

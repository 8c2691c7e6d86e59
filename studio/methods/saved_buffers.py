"""What the methods share that find frozen tensors in the base before they learn beside them.

A decomposition has no one answer: on another machine it finds other signs, and what was learnt beside the first answer is
wrong beside the second. So a checkpoint holds what was found, and a resumed run goes on with it.
"""

from __future__ import annotations

from itertools import chain
from typing import ClassVar


class KeepsBuffers:
    """Mix in before a method. found: a part of the names of the tensors (parameters or buffers) that it found; those that learn are not counted."""

    found: ClassVar[str]

    def state(self, model):
        return {
            name: tensor.detach()
            for name, tensor in chain(model.named_parameters(), model.named_buffers())
            if self.found in name and not tensor.requires_grad
        }

    def load_state(self, model, state):
        import torch

        with torch.no_grad():
            for name, tensor in self.state(model).items():
                tensor.copy_(state[name])

"""Mixin for the methods that compute frozen tensors from the base weights before training.

A matrix decomposition is not unique: another machine may find other signs, for which the trained parameters are wrong.
So checkpoints hold the frozen tensors, and a resumed run uses these.
"""

from __future__ import annotations

from itertools import chain
from typing import ClassVar


class KeepsBuffers:
    """Mixin, to be listed before the method's base class.

    found: substring of the names of the computed parameters and buffers; trainable ones are not saved.
    """

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

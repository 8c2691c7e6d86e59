"""Intrinsic prompt tuning: a soft prompt decoded from a low-dimensional vector (Qin 2021, arXiv:2110.07867).

`Subspace` is the auto-encoder that stage 1 trains on existing prompts. `ProjectedPrompt` replaces stock peft's
embedding table of virtual tokens, so that peft saves the decoded prompt. Independent of where the prompts come from.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "subspace.safetensors"


class Subspace(nn.Module):
    """Auto-encoder of prompts: decodes an intrinsic vector [d] to a prompt [tokens, size] through one hidden layer.

    intrinsic: d. width: of the hidden layer. encoder: also create the encoder, one linear layer.
    """

    def __init__(self, tokens: int, size: int, intrinsic: int, width: int, *, encoder: bool):
        super().__init__()
        self.tokens, self.size = tokens, size
        self.inner = nn.Linear(intrinsic, width)
        self.outer = nn.Linear(width, tokens * size)
        self.encoder = nn.Linear(tokens * size, intrinsic) if encoder else None

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Decode intrinsic vectors: […, d] → […, tokens, size]."""
        return self.outer(torch.tanh(self.inner(numbers))).unflatten(-1, (self.tokens, self.size))

    def encode(self, prompts: torch.Tensor) -> torch.Tensor:
        """Encode prompts: […, tokens, size] → […, d]."""
        return self.encoder(prompts.flatten(-2))


class ProjectedPrompt(nn.Module):
    """Drop-in replacement for peft's embedding of virtual tokens: the prompt decoded from the parameter `numbers` [d].

    prompts [count, tokens, size]: the prompts that stage 1 trains the subspace on; `numbers` is then an offset from the
    mean of their encodings.
    """

    def __init__(self, subspace: Subspace, prompts: torch.Tensor | None = None):
        super().__init__()
        self.subspace = subspace
        self.numbers = nn.Parameter(torch.zeros(subspace.inner.in_features))
        self.register_buffer("prompts", prompts)

    @property
    def weight(self) -> torch.Tensor:
        return self.subspace(self.numbers if self.prompts is None else self.numbers + self.middle())

    def middle(self) -> torch.Tensor:
        return self.subspace.encode(self.prompts).mean(0)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.weight[ids]

    def distance(self) -> torch.Tensor:
        """Reconstruction error: the mean of (decode(encode(P)) − P)² over all prompts and elements, divided by the
        variance of the prompts' elements.
        """
        there = self.subspace(self.subspace.encode(self.prompts))
        return (there - self.prompts).square().mean() / self.prompts.var().clamp_min(1e-12)


def find(prompts: torch.Tensor, intrinsic: int, width: int) -> ProjectedPrompt:
    """Initialise stage 1: a subspace that, before training, decodes every vector to about the mean of `prompts`
    [count, tokens, size].

    intrinsic: dimension of the subspace. width: of the decoder's hidden layer.
    """
    subspace = Subspace(*prompts.shape[1:], intrinsic, width, encoder=True)
    with torch.no_grad():
        subspace.outer.bias.copy_(prompts.mean(0).flatten())
        nn.init.normal_(subspace.outer.weight, std=0.02)
    return ProjectedPrompt(subspace, prompts)


@torch.no_grad()
def save(prompt: ProjectedPrompt, folder: Path) -> None:
    """Write the decoder to `folder`, without the encoder. The mean encoding of the prompts is folded into the first
    bias, so that the zero vector decodes to it.
    """
    tensors = {name: tensor for name, tensor in prompt.subspace.state_dict().items() if not name.startswith("encoder")}
    tensors["inner.bias"] = prompt.subspace.inner(prompt.middle())
    save_file({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, folder / FILE)


def load(folder: Path, tokens: int) -> ProjectedPrompt:
    """Initialise stage 2: the frozen decoder in `folder`, with the intrinsic vector at zero.

    Raises ValueError where the size of the decoder's output is not a multiple of `tokens`.
    """
    tensors = load_file(folder / FILE)
    width, intrinsic = tensors["inner.weight"].shape
    long = len(tensors["outer.bias"])
    if long % tokens:
        raise ValueError(f"{long} numbers are no {tokens} tokens")
    subspace = Subspace(tokens, long // tokens, intrinsic, width, encoder=False)
    subspace.load_state_dict(tensors)
    return ProjectedPrompt(subspace.requires_grad_(False))

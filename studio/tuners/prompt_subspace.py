"""A soft prompt that is written by a decoder from a few numbers (Qin 2021, arXiv:2110.07867).

A `Subspace` is the auto-encoder that stage 1 finds over trained prompts; `ProjectedPrompt` takes the place of stock peft's table of
virtual tokens, so that what peft saves is the finished prompt. It knows nothing about where prompts come from.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "subspace.safetensors"


class Subspace(nn.Module):
    """Numbers [d] → a prompt [tokens, size], through one hidden layer; with an encoder, also the way back (one layer)."""

    def __init__(self, tokens: int, size: int, intrinsic: int, width: int, *, encoder: bool):
        super().__init__()
        self.tokens, self.size = tokens, size
        self.inner = nn.Linear(intrinsic, width)
        self.outer = nn.Linear(width, tokens * size)
        self.encoder = nn.Linear(tokens * size, intrinsic) if encoder else None

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """[…, d] → […, tokens, size]."""
        return self.outer(torch.tanh(self.inner(numbers))).unflatten(-1, (self.tokens, self.size))

    def encode(self, prompts: torch.Tensor) -> torch.Tensor:
        """[…, tokens, size] → […, d]."""
        return self.encoder(prompts.flatten(-2))


class ProjectedPrompt(nn.Module):
    """What peft asks for the embeddings of its virtual tokens: the prompt at `numbers`.

    prompts [count, tokens, size]: those that the subspace is found over; the numbers are then counted from the middle of theirs.
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
        """‖decode(encode(P)) − P‖², the mean over the prompts and their numbers, as a share of the prompts' own spread."""
        there = self.subspace(self.subspace.encode(self.prompts))
        return (there - self.prompts).square().mean() / self.prompts.var().clamp_min(1e-12)


def find(prompts: torch.Tensor, intrinsic: int, width: int) -> ProjectedPrompt:
    """Stage 1's beginning: a subspace whose every point is, before it learns, near the middle of `prompts` [count, tokens, size]."""
    subspace = Subspace(*prompts.shape[1:], intrinsic, width, encoder=True)
    with torch.no_grad():
        subspace.outer.bias.copy_(prompts.mean(0).flatten())
        nn.init.normal_(subspace.outer.weight, std=0.02)
    return ProjectedPrompt(subspace, prompts)


@torch.no_grad()
def save(prompt: ProjectedPrompt, folder: Path) -> None:
    """Write the decoder beside the prompt in `folder`, zero being the middle of the prompts' numbers; the encoder has served."""
    tensors = {name: tensor for name, tensor in prompt.subspace.state_dict().items() if not name.startswith("encoder")}
    tensors["inner.bias"] = prompt.subspace.inner(prompt.middle())
    save_file({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, folder / FILE)


def load(folder: Path, tokens: int) -> ProjectedPrompt:
    """Stage 2's beginning: the frozen decoder in `folder`, with its numbers at zero. ValueError where it is not one for `tokens`."""
    tensors = load_file(folder / FILE)
    width, intrinsic = tensors["inner.weight"].shape
    long = len(tensors["outer.bias"])
    if long % tokens:
        raise ValueError(f"{long} numbers are no {tokens} tokens")
    subspace = Subspace(tokens, long // tokens, intrinsic, width, encoder=False)
    subspace.load_state_dict(tensors)
    return ProjectedPrompt(subspace.requires_grad_(False))

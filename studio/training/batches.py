"""Datasets, collators and samplers: encoded examples to batches of tensors.

Rows are padded on the right and have no attention mask: with causal attention no real token attends to the padding, so
a mask would change only the speed. A packed batch is one row of concatenated examples, separated by `position_ids` that
restart at 0 for each one (exact in architectures that pass `checks.packing_matches_padding`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from studio.tasks import IGNORED, Encoded
from studio.training.encodings import ExampleFile
from studio.training.order import grouped


class Examples(Dataset):
    """Dataset of encoded examples as dictionaries {"input_ids", "labels"}, with "weights" where not all are 1."""

    def __init__(self, encoded: ExampleFile):
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> dict:
        item = self.encoded[index]
        return {
            "input_ids": item.ids,
            "labels": item.labels,
            **({} if item.weights is None else {"weights": item.weights}),
        }

    @property
    def lengths(self) -> np.ndarray:
        return self.encoded.lengths

    @property
    def tokens(self) -> int:
        return self.encoded.tokens


@dataclass
class Collator:
    """Collate encoded examples into {"input_ids", "labels", "tokens"}, the first two batch × length.

    packed: one row, with "position_ids". Where some example has loss weights, also "weights", batch × length. "tokens"
    is the number of tokens without padding.
    """

    pad_id: int
    packed: bool = False

    def __call__(self, items: list[dict]) -> dict:
        tokens = sum(len(item["input_ids"]) for item in items)
        return {**(flatten(items) if self.packed else pad(items, self.pad_id)), "tokens": tokens}


def pad(items: list[dict], pad_id: int) -> dict:
    width = max(len(item["input_ids"]) for item in items)
    ids = [item["input_ids"] + [pad_id] * (width - len(item["input_ids"])) for item in items]
    labels = [item["labels"] + [IGNORED] * (width - len(item["labels"])) for item in items]
    weights = (
        [_weights(item) + [0.0] * (width - len(item["labels"])) for item in items]
        if any("weights" in item for item in items)
        else None
    )
    return {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(labels),
        **({} if weights is None else {"weights": torch.tensor(weights)}),
    }


def _weights(item: dict) -> list[float]:
    return item.get("weights") or [1.0] * len(item["labels"])


def flatten(items: list[dict]) -> dict:
    """Concatenate all examples into one row. The first label of each is ignored: it would be predicted from the
    previous example.
    """
    ids = [token for item in items for token in item["input_ids"]]
    labels = [label for item in items for label in [IGNORED, *item["labels"][1:]]]
    positions = [position for item in items for position in range(len(item["input_ids"]))]
    weights = (
        [[weight for item in items for weight in _weights(item)]] if any("weights" in item for item in items) else None
    )
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
        **({} if weights is None else {"weights": torch.tensor(weights)}),
    }


def sample_batches(
    encoded: Sequence[Encoded], size: int, seed: int, pad_id: int, device: str
) -> Callable[[int], list[dict]]:
    """Return a function of n that returns the first n batches of `encoded`, shuffled with `seed`, as keyword arguments
    of a model's forward. size: rows per batch.
    """

    def batches(count: int) -> list[dict]:
        parts = in_order(len(encoded), size, seed, count)
        made = [
            pad([{"input_ids": item.ids, "labels": item.labels} for item in map(encoded.__getitem__, part)], pad_id)
            for part in parts
        ]
        return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in made]

    return batches


def in_order(examples: int, size: int, seed: int, count: int) -> list[list[int]]:
    """Indices of the examples in each of the first `count` batches of `size`, shuffled with `seed`."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))[: count * size].tolist()
    return [order[at : at + size] for at in range(0, len(order), size)]


class LengthGrouped(Sampler[int]):
    """Sampler that groups examples of similar length (`order.grouped`), in an order determined by seed and epoch.

    transformers' own length-grouped sampler draws from the global generator, so a resumed run would get a different
    order in its first epoch. batch: examples per optimiser step.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch: int, seed: int):
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        return map(int, grouped(self.lengths, self.batch, self.seed, int(self.epoch)))

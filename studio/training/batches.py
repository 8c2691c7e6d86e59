"""Encoded examples → batches of tensors, and the order in which they come.

Rows are padded on the right and carry no attention mask: behind a causal mask no real token ever sees the padding, so
the mask would change nothing but the speed. A packed batch is one row: its examples one behind the other, told apart by
`position_ids` that start anew (exact in architectures that pass the self-check in `checks.py`).
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
    """Encoded examples as the dictionaries that `Trainer` expects."""

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
    """Examples → {"input_ids", "labels"} of batch × length, plus "position_ids" where packed and "weights" (the factor of each token's loss)
    where some are not 1; "tokens" counts the real ones."""

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
    """One row of all examples. Each one's first label is dropped: it would be predicted from the example before it."""
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
    """A function that gives the first n batches of `encoded` in a random order that `seed` fixes, as arguments of a model's forward."""

    def batches(count: int) -> list[dict]:
        parts = in_order(len(encoded), size, seed, count)
        made = [
            pad([{"input_ids": item.ids, "labels": item.labels} for item in map(encoded.__getitem__, part)], pad_id)
            for part in parts
        ]
        return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in made]

    return batches


def in_order(examples: int, size: int, seed: int, count: int) -> list[list[int]]:
    """The examples' numbers in the first `count` batches of `size`, in a random order that `seed` fixes."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))[: count * size].tolist()
    return [order[at : at + size] for at in range(0, len(order), size)]


class LengthGrouped(Sampler[int]):
    """A new random order each epoch in which neighbours are of like length (`order.grouped`), the same for the same seed and
    epoch. transformers' own sampler draws from the global generator, so a resumed run would see another order in its first epoch.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch: int, seed: int):
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        return map(int, grouped(self.lengths, self.batch, self.seed, int(self.epoch)))

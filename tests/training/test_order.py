"""The torch-free order of examples is torch's, number for number."""

import pytest
import torch

from studio.training.order import Permutations, grouped


@pytest.mark.parametrize("seed", [0, 42, 42 * 1_000_003 + 3, (2**31 - 1) * 1_000_003 + 1])
def test_the_numbers_are_torchs(seed):
    mine, theirs = Permutations(seed), torch.Generator().manual_seed(seed)
    for count in (1, 2, 7, 400, 5000):
        assert mine.next(count).tolist() == torch.randperm(count, generator=theirs).tolist()


def test_an_epoch_holds_each_example_once_longest_step_first():
    lengths = [(index * 37) % 101 for index in range(1003)]
    order = grouped(lengths, 8, seed=3).tolist()
    assert sorted(order) == list(range(1003)) and order != grouped(lengths, 8, seed=3, epoch=1).tolist()
    assert max(lengths) in [lengths[index] for index in order[:8]]
    spread = [
        max(part) - min(part) for at in range(0, 1000, 8) if (part := [lengths[index] for index in order[at : at + 8]])
    ]
    assert sum(spread) / len(spread) < 10

"""Which cases of a long sweep CI runs: a sample; `tests/run --full` runs every one.

@pytest.mark.parametrize("name", sampled(METHODS, METHOD_SAMPLE))
COUNT = how_many(2000, sample=500)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest

# One method of each kind of implementation: each PEFT tuner family, each tuner of the studio's own, each way of saving.
METHOD_SAMPLE = {
    "full", "lora", "qlora", "dora", "adalora", "corda", "delta_lora", "eva", "lora_drop", "lora_fa", "long_lora",
    "pissa", "shira", "vera", "vblora", "loha", "oft", "fourierft", "ia3", "adapter", "fusion", "bitfit", "ln_tuning",
    "diff_pruning", "group_mask", "prefix_tuning", "prompt_tuning", "p_tuning", "prompt_ensemble", "intrinsic_prompt",
    "unipelt", "s4",
}  # fmt: skip

# For costly sweeps: one method for each way of making checkpoints, changing the base, and switching the delta off.
SMALL_METHOD_SAMPLE = {
    "full", "lora", "qlora", "adalora", "corda", "delta_lora", "lora_fa", "vera", "fusion", "diff_pruning",
    "group_mask", "prefix_tuning", "prompt_tuning", "unipelt",
}  # fmt: skip

full = False  # whether every case is asked for; tests/conftest.py sets it before tests are collected


def how_many(whole: int, *, sample: int) -> int:
    """The number of cases of a sweep over generated ones: `whole` with --full, else `sample`."""
    return whole if full else sample


def sampled(cases: Iterable, sample: Collection) -> list:
    """`cases` as parameters, of which those outside `sample` carry the mark `full`. Each of `sample` must be a case."""
    found = list(cases)
    missing = set(sample) - set(found)
    assert not missing, f"the sample names what is no case: {missing}"
    return [pytest.param(case, marks=[] if case in sample else [pytest.mark.full]) for case in found]

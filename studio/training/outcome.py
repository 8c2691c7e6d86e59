"""What a run achieved is measured twice: on the fine-tuned model, and on its base beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from studio.evaluation.predictions import Prediction, summarise, write
from studio.jobs.job import Job
from studio.words import Sentence


def fine_tuned_and_base(
    job: Job, fine_tuned: torch.nn.Module, bare: Callable[[], torch.nn.Module] | None
) -> Iterator[tuple[str, torch.nn.Module]]:
    """("", the fine-tuned model), then ("base_", the base model): the prefixes of what is measured on each.

    bare: loads a bare base model; None where the delta in `fine-tuned` can be switched off.
    """
    job.doing(Sentence("Asking the fine-tuned model"))
    yield "", fine_tuned
    job.doing(Sentence("Asking the base model"))
    if bare is not None:
        yield "base_", bare()
    else:
        with fine_tuned.disable_adapter():
            yield "base_", fine_tuned


def kept(job: Job, rows: list[Prediction]) -> dict:
    """Keep the answers in the run's folder for the page to show; returns the figures with intervals."""
    write(job.home.run(job.run_id), rows)
    return summarise(rows)

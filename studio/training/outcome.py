"""Final evaluation of a run on both models: the fine-tuned one and its base model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from studio.evaluation.predictions import Prediction, summarise, write
from studio.jobs.job import Job
from studio.words import Sentence


def fine_tuned_and_base(
    job: Job, fine_tuned: torch.nn.Module, bare: Callable[[], torch.nn.Module] | None
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield ("", fine-tuned model), then ("base_", base model). The strings are prefixes for the names of the metrics.

    bare: loads the base model; None where disabling the delta of `fine_tuned` gives the base model.
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
    """Write the predictions to the run's folder, where the page reads them; return their scores with intervals."""
    write(job.home.run(job.run_id), rows)
    return summarise(rows)

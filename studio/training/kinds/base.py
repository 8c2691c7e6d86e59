"""The interface of a kind of task: how it makes examples of records, creates the trainer and evaluates the result.

The order of a run's stages is defined in `worker.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from studio.data.dataset import Dataset, load
from studio.data.records import Records
from studio.jobs.job import Job
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.load import load_base
from studio.recipe import Recipe
from studio.tasks import Encoded
from studio.tasks.length_policy import LengthPolicy, apply_length_policy
from studio.training.encodings import ExampleFile
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from studio.training.trainer import StudioTrainer

_FITTED = {
    "drop": "{count} {count:example|examples} to learn from and {more} validation {more:example|examples} "
    "are longer than {length} tokens and were left out.",
    "trim": "{count} {count:example|examples} to learn from and {more} validation {more:example|examples} "
    "are longer than {length} tokens and were shortened at the front.",
}


@dataclass
class TrainingData:
    """The dataset and its examples, in the form that the kind's trainer takes."""

    dataset: Dataset
    train: Sequence
    validation: Sequence


_SAY_EVERY = 0.5  # seconds between two progress reports


class Kind:
    """The task-specific part of one run. A new instance is created for each run, so it may keep state."""

    head: ClassVar[str] = "causal_lm"  # class of the loaded model, a key of `studio.models.load.HEADS`
    tokenizer: ChatTokenizer | None = None  # None for images
    labels: list[str] | None = None  # class names, set by `examples`; None for tasks without classes

    def __init__(self, job: Job, recipe: Recipe, base: Path):
        self.job, self.recipe, self.base = job, recipe, base
        self.folder = job.home.run(job.run_id)
        self._said = time.monotonic()
        self.refused: list[ChatTemplateError] = []  # errors of the rows that the chat template refused

    def prepare(self) -> TrainingData:
        """Read the data and make examples of it. Raises Stopped where a stop is requested meanwhile."""
        self.job.doing(Sentence("Reading the data"))
        self.folder.mkdir(parents=True, exist_ok=True)
        dataset = load(
            self.recipe.data,
            want=self.recipe.task.record_kind,
            separator=self.recipe.task.label_separator,
            progress=lambda rows: self.report_progress(
                Sentence("Reading the data: {rows:,} {rows:row|rows}", rows=rows)
            ),
            place=self.folder,
        )
        dataset = self.apply_length_policy(dataset)
        return TrainingData(dataset, *self.examples(dataset))

    def apply_length_policy(self, dataset: Dataset) -> Dataset:
        """Apply the recipe's policy for rows that are too long (drop or trim) and log how many it changed.

        Raises StudioError where no training row is left.
        """
        length_policy = LengthPolicy(self.recipe, self.tokenizer) if self.tokenizer else None
        if length_policy is None or not length_policy.action:
            return dataset
        train, validation = (
            apply_length_policy(records, length_policy, self.iterate(records))
            for records in (dataset.train, dataset.validation)
        )
        self.job.log(
            Sentence(
                _FITTED[length_policy.action],
                count=train.changed,
                more=validation.changed,
                length=length_policy.max_length,
            )
        )
        if not len(train.records):
            raise StudioError(
                "Every example is longer than {length} tokens, and such rows are left out. "
                "Raise Max sequence length, or undo that remedy on the Data tab.",
                length=length_policy.max_length,
            )
        return replace(dataset, train=train.records, validation=validation.records)

    def report_progress(self, sentence: Sentence) -> None:
        """Report `sentence` as the job's progress, at most once every `_SAY_EVERY` seconds; call it between rows.

        Raises Stopped where a stop is requested.
        """
        self.job.check_stop()
        if time.monotonic() - self._said >= _SAY_EVERY:
            self.job.doing(sentence)
            self._said = time.monotonic()

    def iterate(self, records: Records) -> Iterator[dict]:
        """Yield the value of each record and report progress."""
        for done, record in enumerate(records):
            self.report_progress(
                Sentence("Preparing the data: {done:,} of {count:,} {count:row|rows}", done=done, count=len(records))
            )
            yield record.value

    def encoded(self, records: Records) -> Iterator[tuple[Encoded, int]]:
        """Yield (example, index of its record) for all records. Requires a `tokenizer`.

        Records that the chat template refuses are skipped, collected in `self.refused` and counted in the log.
        """
        self.refused = []
        for place, value in enumerate(self.iterate(records)):
            try:
                for example in self.recipe.task.encode(value, self.tokenizer, self.recipe.training.max_length):
                    yield example, place
            except ChatTemplateError as error:
                self.refused.append(error)
        if self.refused:
            self.job.log(
                Sentence(
                    "{count} {count:row was|rows were} left out. The first: {reason}",
                    count=len(self.refused),
                    reason=self.refused[0].sentence,
                )
            )

    def log_truncated_rows(self, train: ExampleFile) -> None:
        if train.cut:
            self.job.log(
                Sentence(
                    "{count} {count:example is|examples are} longer than {length} tokens "
                    "and {count:was|were} cut there.",
                    count=train.cut,
                    length=self.recipe.training.max_length,
                )
            )

    def load(self, folder: Path, precision: str | None = None) -> torch.nn.Module:
        """Load the model in `folder` with this kind's head, frozen, on the run's device.

        precision: by default the recipe's.
        """
        return load_base(
            folder,
            quantisation=self.recipe.quantisation,
            precision=precision or self.recipe.machine.precision,
            device=self.job.torch_device,
            double_quantisation=getattr(self.recipe.method, "double_quantisation", True),
            head=self.head,
            labels=self.labels,
        )

    def check(self, model: torch.nn.Module, material: TrainingData) -> None:
        """Check the base model before the method wraps it; raises StudioError. By default, no check."""

    # ---- to be implemented by each kind ---------------------------------------------------------------------------

    def examples(self, dataset: Dataset) -> tuple[Sequence, Sequence]:
        """Return (training examples, validation examples); raises StudioError where they cannot be trained on."""
        raise NotImplementedError

    def batches(self, material: TrainingData) -> Callable[[int], list[dict]]:
        """Return a function of n that returns the first n training batches as keyword arguments of the model's forward,
        for `methods.Setting.batches`.
        """
        raise NotImplementedError

    def trainer(
        self, model: torch.nn.Module, options: TrainingArguments, material: TrainingData, callbacks: list
    ) -> StudioTrainer:
        raise NotImplementedError

    def samples(self, trainer: StudioTrainer, material: TrainingData) -> list[dict]:
        """Sample outputs that the page shows for each evaluation: [{"prompt", "expected", "answer"}]."""
        return []

    def outcome(
        self, trainer: StudioTrainer, material: TrainingData, bare: Callable[[], torch.nn.Module] | None
    ) -> dict:
        """Run the final evaluation: return the metrics of the fine-tuned model and, prefixed with "base_", of the base
        model.

        bare: loads the base model; None where disabling the delta of `trainer.model` gives the base model.
        """
        raise NotImplementedError

    def probe(self, model: torch.nn.Module, material: TrainingData) -> torch.Tensor:
        """Logits for one or a few training examples, in float32 on the CPU. The artefact reloaded from disk must
        reproduce them.
        """
        raise NotImplementedError

    def save_companion_files(self, folder: Path) -> None:
        """Write files that the artefact in `folder` needs besides its weights. By default, none."""

    def card(self) -> dict:
        """Additional metadata of this kind for the adapter's entry in the library."""
        return {}

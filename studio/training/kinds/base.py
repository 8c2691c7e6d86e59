"""What a kind of task must say of itself for a run to be told: from records to examples, to a trainer, to what the end measures.

It knows nothing about the order of a run's stages; that is `worker.py`.
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
    "drop": "{count} {count:example|examples} to learn from and {more} validation {more:example|examples} are longer than {length} tokens and were left out.",
    "trim": "{count} {count:example|examples} to learn from and {more} validation {more:example|examples} are longer than {length} tokens and were shortened at the front.",
}


@dataclass
class TrainingData:
    """What the data became: examples as the kind's own trainer takes them."""

    dataset: Dataset
    train: Sequence
    validation: Sequence


_SAY_EVERY = 0.5  # seconds


class Kind:
    """One run's way with its task. Made anew for each run, so that it may remember what it read."""

    head: ClassVar[str] = "causal_lm"  # which class of model is loaded, a key of `studio.models.load.HEADS`
    tokenizer: ChatTokenizer | None = None  # None where pictures are read
    labels: list[str] | None = None  # names of the classes, known once `examples` has run; None where there are none

    def __init__(self, job: Job, recipe: Recipe, base: Path):
        self.job, self.recipe, self.base = job, recipe, base
        self.folder = job.home.run(job.run_id)
        self._said = time.monotonic()
        self.refused: list[ChatTemplateError] = []  # why rows were left out that the chat template does not take

    def prepare(self) -> TrainingData:
        """Read the data and make examples of it. Raises Stopped where the job is asked to stop meanwhile."""
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
        """`dataset` as the remedy for over-long rows leaves it, with a word on how many it changed."""
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
                "Every example is longer than {length} tokens, and such rows are left out. Raise Max sequence length, or undo that remedy on the Data tab.",
                length=length_policy.max_length,
            )
        return replace(dataset, train=train.records, validation=validation.records)

    def report_progress(self, sentence: Sentence) -> None:
        """To be called between rows: says now and then what `sentence` says, and raises Stopped where the job is asked to stop."""
        self.job.check_stop()
        if time.monotonic() - self._said >= _SAY_EVERY:
            self.job.doing(sentence)
            self._said = time.monotonic()

    def iterate(self, records: Records) -> Iterator[dict]:
        """The value of each record, one after the other; says how far it is."""
        for done, record in enumerate(records):
            self.report_progress(
                Sentence("Preparing the data: {done:,} of {count:,} {count:row|rows}", done=done, count=len(records))
            )
            yield record.value

    def encoded(self, records: Records) -> Iterator[tuple[Encoded, int]]:
        """The examples of all records, each with its record's place. For kinds that have a `tokenizer`. Records that the chat template refuses make
        none, and are told of in the log."""
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
                    "{count} {count:example is|examples are} longer than {length} tokens and {count:was|were} cut there.",
                    count=train.cut,
                    length=self.recipe.training.max_length,
                )
            )

    def load(self, folder: Path, precision: str | None = None) -> torch.nn.Module:
        """The model in `folder` with this kind's head, frozen, on the run's device. precision: the recipe's if not given."""
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
        """What has to be tried on the bare model before the method wraps it. Raises StudioError."""

    # ---- what each kind says --------------------------------------------------------------------------------------

    def examples(self, dataset: Dataset) -> tuple[Sequence, Sequence]:
        """(training examples, validation examples); StudioError where nothing can be learnt from them."""
        raise NotImplementedError

    def batches(self, material: TrainingData) -> Callable[[int], list[dict]]:
        """A function that gives the first n training batches as arguments of the model's forward: `methods.Setting.batches`."""
        raise NotImplementedError

    def trainer(
        self, model: torch.nn.Module, options: TrainingArguments, material: TrainingData, callbacks: list
    ) -> StudioTrainer:
        raise NotImplementedError

    def samples(self, trainer: StudioTrainer, material: TrainingData) -> list[dict]:
        """What a person reads of the progress at each evaluation: [{"prompt", "expected", "answer"}]."""
        return []

    def outcome(
        self, trainer: StudioTrainer, material: TrainingData, bare: Callable[[], torch.nn.Module] | None
    ) -> dict:
        """What the end measures: the fine-tuned model's figures, and the base model's with "base_" in front.

        bare: loads a bare base model; None where the delta in `trainer.model` can be switched off for that.
        """
        raise NotImplementedError

    def probe(self, model: torch.nn.Module, material: TrainingData) -> torch.Tensor:
        """Logits on the CPU that the artefact, loaded again from disk, has to give again."""
        raise NotImplementedError

    def save_companion_files(self, folder: Path) -> None:
        """Write what the artefact in `folder` needs beside its weights."""

    def card(self) -> dict:
        """What the library's card says beyond what every run's says."""
        return {}

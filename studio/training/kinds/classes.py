"""The shared base of all classification kinds: loss of the new head, accuracy and macro F1 at each evaluation, and the
final confusion matrix.

The base model has no classification head, so the baseline is not its answer but the most frequent training label.
Independent of texts and images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TypeVar

import torch

from studio.chat.classification import class_logits, class_loss, predicted_labels, probabilities
from studio.evaluation import predictions
from studio.evaluation.intervals import DIFFERENCE, SHARE, bootstrap_figures
from studio.evaluation.scores import accuracy, confusion, macro_f1, weighted_macro_f1
from studio.tasks import IGNORED
from studio.training.kinds.base import Kind
from studio.training.trainer import StudioTrainer
from studio.words import Sentence, StudioError

Names = tuple[str, ...]
T = TypeVar("T")


class ClassTrainer(StudioTrainer):
    """Trainer for classification. Batches are the model's inputs with "labels" (see `Classes.numbers`) and "tokens".

    `kind` must be set before training.
    """

    kind: Classes

    def _loss(self, model, inputs):
        logits, labels = self.classified(model, inputs)
        return class_loss(logits, labels, self.kind.sizes), (labels != IGNORED).sum()

    def classified(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = dict(inputs)
        if model.training:
            self.count_tokens(inputs)
        labels, _ = inputs.pop("labels"), inputs.pop("tokens")
        return class_logits(model, inputs, has_virtual_tokens=self.virtual > 0), labels

    @torch.no_grad()
    def predict_validation(self) -> tuple[float, list[list[float]]]:
        """Return (validation loss, class probabilities of each validation row, in order) of the model being
        fine-tuned.
        """
        model = self.model_wrapped.eval()
        total, count, rows = 0.0, 0, []
        for inputs in self.get_eval_dataloader():
            with self.compute_loss_context_manager():
                logits, labels = self.classified(model, self._prepare_inputs(inputs))
            total, count = (
                total + class_loss(logits, labels, self.kind.sizes).item(),
                count + int((labels != IGNORED).sum()),
            )
            rows += probabilities(logits, self.kind.multi_label, self.kind.sizes).tolist()
        return total / max(1, count), rows

    def validation(self, model=None) -> dict[str, float]:
        """Return {"loss", "accuracy", "macro_f1"} on the validation set."""
        loss, rows = self.predict_validation()
        expected = self.eval_dataset.expected
        return {"loss": loss, **self.kind.figures(expected, self.kind.answers(rows, expected))}


def class_figures(
    expected: Sequence[Names], given: Sequence[Names], names: list[str], multi_label: bool
) -> dict[str, float]:
    """Return {"accuracy", "macro_f1"}; multi-label accuracy counts rows of which all labels are right."""
    flat = (lambda rows: [set(row) for row in rows]) if multi_label else (lambda rows: [row[0] for row in rows])
    return {"accuracy": accuracy(expected, given), "macro_f1": macro_f1(flat(expected), flat(given), names)}


class Classes(Kind):
    """Collects the classes from the training data and evaluates the predictions."""

    multi_label = False
    sizes: Sequence[int] = ()  # number of labels in each label set; empty for a single set

    def found_names(self, train: Iterable[Names]) -> list[str]:
        """Return the sorted classes of the training rows; raises StudioError where there is only one (multi-label:
        none).
        """
        names = sorted({name for row in train for name in row})
        least = 1 if self.multi_label else 2
        if len(names) < least:
            raise StudioError(
                "There is only one label in the data ({label}), so there is nothing to tell apart. "
                "Choose another column, or add examples of other labels.",
                label=names[0] if names else "-",
            )
        return names

    def known(self, validation: Iterable[tuple[Names, T]]) -> Iterator[tuple[Names, T]]:
        """Yield the validation rows that can be evaluated, with those of their labels that can; log the labels that no
        training row has.
        """
        seen, unknown, count = set(self.labels), set(), 0
        for names, item in validation:
            unknown_here = set(names) - seen
            unknown |= unknown_here
            count += bool(unknown_here)
            left = self.measurable(names, unknown_here)
            if left is not None:
                yield left, item
        if count:
            self.job.log(
                Sentence(
                    "{count} validation {count:row has|rows have} labels that no training row has ({labels}); "
                    "{count:it is|they are} not measured.",
                    count=count,
                    labels=", ".join(sorted(unknown)[:5]),
                )
            )

    def measurable(self, names: Names, unknown: set[str]) -> Names | None:
        """The labels of a validation row to evaluate; None to leave it out. unknown: its labels that no training row
        has.
        """
        return None if unknown else names

    def numbers(self, names: Names) -> int | list[float] | list[int]:
        """Encode a row's labels for the loss: the class index; multi-label: a 0/1 vector over all classes."""
        return [float(name in names) for name in self.labels] if self.multi_label else self.labels.index(names[0])

    def most_frequent(self, train: Sequence[Names]) -> Names:
        """The baseline prediction: the most frequent label; multi-label: the labels of more than half of the rows."""
        counts = Counter(name for row in train for name in row)
        if self.multi_label:
            return tuple(name for name in self.labels if counts[name] * 2 > len(train))
        return (counts.most_common(1)[0][0],)

    def asked(self, given: Names, expected: Names) -> Names:
        """The part of the prediction `given` that can be evaluated in a row with the labels `expected`: here all."""
        return given

    def answers(self, rows: list[list[float]], expected: Sequence[Names]) -> list[Names]:
        """The predicted labels of each row of probabilities."""
        return [
            self.asked(predicted_labels(row, self.labels, self.multi_label, self.sizes), reference)
            for row, reference in zip(rows, expected, strict=True)
        ]

    def figures(self, expected: Sequence[Names], given: Sequence[Names]) -> dict[str, float]:
        """Return {"accuracy", "macro_f1"}."""
        return class_figures(expected, given, self.labels, self.multi_label)

    def macro_f1_intervals(self, expected: Sequence[Names], base: Sequence[Names], fine_tuned: Sequence[Names]) -> dict:
        """Return 95 % bootstrap intervals of macro F1 as {"base", "fine_tuned", "difference"}, resampling rows in
        pairs.
        """
        before, after = (weighted_macro_f1(expected, given, self.labels, self.sizes) for given in (base, fine_tuned))

        def figures(times):
            low, high = before(times), after(times)
            return low, high, high - low

        return dict(
            zip(
                ("base", "fine_tuned", "difference"),
                bootstrap_figures(len(expected), figures, (SHARE, SHARE, DIFFERENCE)),
                strict=True,
            )
        )

    def matrix(self, expected: Sequence[Names], given: Sequence[Names], always: Names) -> dict:
        """Return the confusion matrix {"names", "multi_label", "counts"}; with several label sets also "sets".

        always: the baseline prediction, used only with several label sets.
        """
        return {
            "names": self.labels,
            "multi_label": self.multi_label,
            "counts": self.counted(expected, given, self.labels),
        }

    def counted(self, expected: Sequence[Names], given: Sequence[Names], names: list[str]) -> list[list[int]]:
        """Return the confusion matrix (rows expected, columns predicted); multi-label: for each label its true
        positives, false negatives and false positives.
        """
        if not self.multi_label:
            return confusion([row[0] for row in expected], [row[0] for row in given], names)
        pairs = list(zip(expected, given, strict=True))
        return [
            [
                sum(name in reference and name in text for reference, text in pairs),
                sum(name in reference and name not in text for reference, text in pairs),
                sum(name not in reference and name in text for reference, text in pairs),
            ]
            for name in names
        ]

    def shown(self, index: int) -> str:
        """The text that the page shows for validation example `index`."""
        raise NotImplementedError

    def samples(self, trainer, material):
        if not material.validation:
            return []
        count = self.recipe.training.sample_prompts
        part = [trainer.eval_dataset[at] for at in range(min(count, len(material.validation)))]
        if not part:
            return []
        trainer.model.eval()
        with torch.no_grad():
            logits, _ = trainer.classified(trainer.model, trainer._prepare_inputs(trainer.data_collator(part)))
        expected = trainer.eval_dataset.expected[: len(part)]
        given = self.answers(probabilities(logits, self.multi_label, self.sizes).tolist(), expected)
        return [
            {"prompt": self.shown(at), "expected": _said(expected[at]), "answer": _said(answer)}
            for at, answer in enumerate(given)
        ]

    def outcome(self, trainer, material, bare):
        """Return eval_loss, correct and macro_f1 with intervals; "classes" holds the confusion matrix, the baseline
        label ("always") and the mean of the largest probability ("confidence").
        """
        if trainer.eval_dataset is None:
            return {}
        self.job.doing(Sentence("Asking the fine-tuned model"))
        loss, rows = trainer.predict_validation()
        expected = trainer.eval_dataset.expected
        given, always = self.answers(rows, expected), self.most_frequent(trainer.train_dataset.expected)
        blind = [self.asked(always, reference) for reference in expected]
        table = [
            predictions.Prediction(
                self.shown(at),
                _said(reference),
                _said(guess),
                _said(text),
                {"correct": (float(guess == reference), float(text == reference))},
            )
            for at, (reference, guess, text) in enumerate(zip(expected, blind, given, strict=True))
        ]
        predictions.write(self.job.home.run(self.job.run_id), table)
        sure = fmean(max(row) for row in rows)
        measured = predictions.summarise(table)
        measured["intervals"]["macro_f1"] = self.macro_f1_intervals(expected, blind, given)
        return {
            "eval_loss": loss,
            **measured,
            "macro_f1": self.figures(expected, given)["macro_f1"],
            "base_macro_f1": self.figures(expected, blind)["macro_f1"],
            "classes": {**self.matrix(expected, given, always), "always": _said(always), "confidence": sure},
        }

    def card(self) -> dict:
        return {"labels": self.labels, "multi_label": self.multi_label}


def _said(names: Names) -> str:
    return ", ".join(names) or "–"

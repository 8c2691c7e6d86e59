"""What all kinds that learn classes share: the loss over a new head, live accuracy and macro F1, and the confusion matrix at the end.

The base model has no such head, so it cannot be asked: what stands beside the fine-tuned model is the answer that needs no
reading, the commonest label always. It knows nothing about texts and pictures.
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
    """Batches are inputs of the model with "labels" (as `Classes.numbers` makes them) and "tokens". `kind`: whose classes they are."""

    kind: Classes

    def _loss(self, model, inputs):
        logits, labels = self.classified(model, inputs)
        return class_loss(logits, labels, self.kind.sizes), (labels != IGNORED).sum()

    def classified(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = dict(inputs)
        labels, tokens = inputs.pop("labels"), inputs.pop("tokens")
        if model.training:
            self.tokens_seen += int(tokens)
        return class_logits(model, inputs, has_virtual_tokens=self.virtual > 0), labels

    @torch.no_grad()
    def predict_validation(self) -> tuple[float, list[list[float]]]:
        """(validation loss, probabilities of each validation row in order) of the model that is being fine-tuned."""
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
        """{"loss", "accuracy", "macro_f1"}"""
        loss, rows = self.predict_validation()
        expected = self.eval_dataset.expected
        return {"loss": loss, **self.kind.figures(expected, self.kind.answers(rows, expected))}


def class_figures(
    expected: Sequence[Names], given: Sequence[Names], names: list[str], multi_label: bool
) -> dict[str, float]:
    """accuracy (for several labels a row: all of them right) and macro F1."""
    flat = (lambda rows: [set(row) for row in rows]) if multi_label else (lambda rows: [row[0] for row in rows])
    return {"accuracy": accuracy(expected, given), "macro_f1": macro_f1(flat(expected), flat(given), names)}


class Classes(Kind):
    """Finds the classes in the data, and measures how well they are told apart."""

    multi_label = False
    sizes: Sequence[int] = ()  # labels in each label set, where there are several sets

    def found_names(self, train: Iterable[Names]) -> list[str]:
        """The classes that occur in the training part, in order of the alphabet."""
        names = sorted({name for row in train for name in row})
        least = 1 if self.multi_label else 2
        if len(names) < least:
            raise StudioError(
                "There is only one label in the data ({label}), so there is nothing to tell apart. Choose another column, or add examples of other labels.",
                label=names[0] if names else "-",
            )
        return names

    def known(self, validation: Iterable[tuple[Names, T]]) -> Iterator[tuple[Names, T]]:
        """The validation rows that can be measured, with those of their labels that can; says which labels nobody could learn."""
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
                    "{count} validation {count:row has|rows have} labels that no training row has ({labels}); {count:it is|they are} not measured.",
                    count=count,
                    labels=", ".join(sorted(unknown)[:5]),
                )
            )

    def measurable(self, names: Names, unknown: set[str]) -> Names | None:
        """What is measured of a validation row, None if nothing. unknown: those of its labels that no training row has."""
        return None if unknown else names

    def numbers(self, names: Names) -> int | list[float] | list[int]:
        """A row's labels as the loss takes them."""
        return [float(name in names) for name in self.labels] if self.multi_label else self.labels.index(names[0])

    def most_frequent(self, train: Sequence[Names]) -> Names:
        """The answer that needs no reading: the commonest label; where there may be several, those that most rows have."""
        counts = Counter(name for row in train for name in row)
        if self.multi_label:
            return tuple(name for name in self.labels if counts[name] * 2 > len(train))
        return (counts.most_common(1)[0][0],)

    def asked(self, given: Names, expected: Names) -> Names:
        """What of the answer `given` was asked for in a row with the labels `expected`."""
        return given

    def answers(self, rows: list[list[float]], expected: Sequence[Names]) -> list[Names]:
        """What the probabilities of each row say."""
        return [
            self.asked(predicted_labels(row, self.labels, self.multi_label, self.sizes), reference)
            for row, reference in zip(rows, expected, strict=True)
        ]

    def figures(self, expected: Sequence[Names], given: Sequence[Names]) -> dict[str, float]:
        """{"accuracy", "macro_f1"}"""
        return class_figures(expected, given, self.labels, self.multi_label)

    def macro_f1_intervals(self, expected: Sequence[Names], base: Sequence[Names], fine_tuned: Sequence[Names]) -> dict:
        """The intervals of macro F1: {"base", "fine_tuned", "difference"}, rows staying paired."""
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
        """Which labels are taken for which: {"names", "multi_label", "counts"}; with "sets" where there are several label sets."""
        return {
            "names": self.labels,
            "multi_label": self.multi_label,
            "counts": self.counted(expected, given, self.labels),
        }

    def counted(self, expected: Sequence[Names], given: Sequence[Names], names: list[str]) -> list[list[int]]:
        """The confusion matrix; for several labels a row the hits, misses and false alarms of each label."""
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
        """What a person reads of validation example `index`."""
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
        """eval_loss, correct, macro_f1 with intervals; under "classes" the confusion matrix and what the base was taken to say."""
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

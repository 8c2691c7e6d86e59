"""What all kinds that learn classes share: the loss over a new head, live accuracy and macro F1, and the confusion matrix at the end.

The base model has no such head, so it cannot be asked: what stands beside the taught model is the answer that needs no
reading, the commonest label always. It knows nothing about texts and pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import torch

from studio.chat.classes import chosen, class_logits, class_loss, probabilities
from studio.evaluation import predictions
from studio.evaluation.scores import accuracy, confusion, macro_f1
from studio.training.kinds.base import Kind
from studio.training.trainer import StudioTrainer
from studio.words import Sentence, StudioError

Names = tuple[str, ...]


class ClassTrainer(StudioTrainer):
    """Batches are inputs of the model with "labels" (class numbers, or rows of 0 and 1) and "tokens". `names`: the classes."""

    names: list[str]

    def _loss(self, model, inputs):
        logits, labels = self.classified(model, inputs)
        return class_loss(logits, labels), torch.tensor(labels.numel(), device=labels.device)

    def classified(self, model, inputs) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = dict(inputs)
        labels, tokens = inputs.pop("labels"), inputs.pop("tokens")
        if model.training:
            self.tokens_seen += int(tokens)
        return class_logits(model, inputs, prompts=self.virtual > 0), labels

    @torch.no_grad()
    def said(self) -> tuple[float, list[list[float]]]:
        """(held-out loss, probabilities of each held-out row in order) of the model that is being taught."""
        model = self.model_wrapped.eval()
        total, count, rows = 0.0, 0, []
        for inputs in self.get_eval_dataloader():
            with self.compute_loss_context_manager():
                logits, labels = self.classified(model, self._prepare_inputs(inputs))
            total, count = total + class_loss(logits, labels).item(), count + labels.numel()
            rows += probabilities(logits, labels.dim() == 2).tolist()
        return total / max(1, count), rows

    def heldout(self, model=None) -> dict[str, float]:
        """{"loss", "accuracy", "macro_f1"}"""
        loss, rows = self.said()
        several = self.eval_dataset.several
        given = [chosen(row, self.names, several) for row in rows]
        return {"loss": loss, **class_figures(self.eval_dataset.expected, given, self.names, several)}


def class_figures(expected: Sequence[Names], given: Sequence[Names], names: list[str], several: bool) -> dict[str, float]:
    """accuracy (for several labels a row: all of them right) and macro F1."""
    flat = (lambda rows: [set(row) for row in rows]) if several else (lambda rows: [row[0] for row in rows])
    return {"accuracy": accuracy(expected, given), "macro_f1": macro_f1(flat(expected), flat(given), names)}


class Classes(Kind):
    """Finds the classes in the data, and measures how well they are told apart."""

    several = False

    def found_names(self, train: Sequence[Names]) -> list[str]:
        """The classes that occur in the training part, in order of the alphabet."""
        names = sorted({name for row in train for name in row})
        least = 1 if self.several else 2
        if len(names) < least:
            raise StudioError("There is only one label in the data ({label}), so there is nothing to tell apart. Choose another column, or add examples of other labels.",
                              label=names[0] if names else "-")
        return names

    def known(self, heldout: list, names_of) -> list:
        """The held-out examples whose labels were all seen in training; what is left out is said."""
        kept = [item for item in heldout if set(names_of(item)) <= set(self.labels)]
        if len(kept) < len(heldout):
            unknown = sorted({name for item in heldout for name in names_of(item)} - set(self.labels))
            self.job.log(Sentence("{count} held-out rows have labels that no training row has ({labels}); they are not measured.", count=len(heldout) - len(kept), labels=", ".join(unknown[:5])))
        return kept

    def numbers(self, names: Names) -> int | list[float]:
        """A row's labels as the loss takes them."""
        return [float(name in names) for name in self.labels] if self.several else self.labels.index(names[0])

    def commonest(self, train: Sequence[Names]) -> Names:
        """The answer that needs no reading: the commonest label; where there may be several, those that most rows have."""
        counts = Counter(name for row in train for name in row)
        if self.several:
            return tuple(name for name in self.labels if counts[name] * 2 > len(train))
        return (counts.most_common(1)[0][0],)

    def shown(self, index: int) -> str:
        """What a person reads of held-out example `index`."""
        raise NotImplementedError

    def samples(self, trainer, material):
        if not material.heldout:
            return []
        count = self.recipe.training.sample_prompts
        part = [trainer.eval_dataset[at] for at in range(min(count, len(material.heldout)))]
        if not part:
            return []
        trainer.model.eval()
        with torch.no_grad():
            logits, _ = trainer.classified(trainer.model, trainer._prepare_inputs(trainer.data_collator(part)))
        rows = probabilities(logits, self.several).tolist()
        expected = trainer.eval_dataset.expected
        return [{"prompt": self.shown(at), "expected": _said(expected[at]), "answer": _said(chosen(row, self.labels, self.several))} for at, row in enumerate(rows)]

    def outcome(self, trainer, material, bare):
        """eval_loss, correct, macro_f1 with intervals; under "classes" the confusion matrix and what the base was taken to say."""
        if trainer.eval_dataset is None:
            return {}
        self.job.doing(Sentence("Asking the taught model"))
        loss, rows = trainer.said()
        expected = trainer.eval_dataset.expected
        given, always = [chosen(row, self.labels, self.several) for row in rows], self.commonest(trainer.train_dataset.expected)
        table = [
            predictions.Prediction(self.shown(at), _said(hoped), _said(always), _said(said), {"correct": (float(always == hoped), float(said == hoped))})
            for at, (hoped, said) in enumerate(zip(expected, given, strict=True))
        ]
        predictions.write(self.job.home.run(self.job.run_id), table)
        blind = class_figures(expected, [always] * len(expected), self.labels, self.several)
        counted = confusion([row[0] for row in expected], [row[0] for row in given], self.labels) if not self.several else [
            [sum(name in hoped and name in said for hoped, said in zip(expected, given, strict=True)),
             sum(name in hoped and name not in said for hoped, said in zip(expected, given, strict=True)),
             sum(name not in hoped and name in said for hoped, said in zip(expected, given, strict=True))] for name in self.labels]
        sure = fmean(max(row) for row in rows)
        return {"eval_loss": loss, **predictions.figures(table), "macro_f1": class_figures(expected, given, self.labels, self.several)["macro_f1"], "base_macro_f1": blind["macro_f1"],
                "classes": {"names": self.labels, "several": self.several, "counts": counted, "always": _said(always), "confidence": sure}}

    def card(self) -> dict:
        return {"labels": self.labels, "several": self.several}


def _said(names: Names) -> str:
    return ", ".join(names) or "–"

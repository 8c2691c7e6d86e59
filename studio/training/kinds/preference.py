"""Preference and feedback tasks: probabilities of chosen and rejected answers before and after training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from studio.evaluation.predictions import Prediction
from studio.tasks import Question
from studio.training import checks
from studio.training.kinds.generation import Generation, asked
from studio.training.outcome import fine_tuned_and_base, kept
from studio.training.preference import AnswerCollator, Answers, PreferenceMetrics, PreferenceTrainer


class Preference(Generation):
    """Evaluates the algorithm's loss, the rate at which chosen answers are preferred and the margins on the validation
    set; also generates answers to its prompts.

    A method that uses batches before it wraps the model (`Setting.batches`) gets the chosen answers, encoded as in
    chat.
    """

    def examples(self, dataset):
        training = self.recipe.training
        train, left = self.labelled_examples(dataset.train)
        if not train and self.refused:
            raise self.refused[0]
        checks.labelled(train, left, training.max_length)
        self.log_truncated_rows(train)
        validation, _ = self.labelled_examples(dataset.validation)
        self.records = dataset.validation[validation.places]
        questions = (question for record in self.records if (question := self.recipe.task.question(record.value)))
        self.questions = list(islice(questions, max(training.evaluation_rows, training.sample_prompts)))
        return train, validation

    def trainer(self, model, options, material, callbacks):
        task, training = self.recipe.task, self.recipe.training
        return PreferenceTrainer(
            model,
            options,
            task=task,
            method=self.recipe.method,
            train=Answers(material.train),
            validation=Answers(material.validation) if material.validation else None,
            collator=AnswerCollator(self.tokenizer.pad_id, training.max_length, mismatched=task.algorithm == "kto"),
            group_by_length=training.group_by_length,
            callbacks=callbacks,
        )

    def outcome(self, trainer, material, bare):
        """Return eval_loss and preference scores of both models; also generate answers to the first validation
        prompts.
        """
        found: dict = {}
        metrics: dict[str, list[PreferenceMetrics]] = {"": [], "base_": []}
        answers: dict[str, list[str]] = {}
        for prefix, model in fine_tuned_and_base(self.job, trainer.model, bare):
            if trainer.eval_dataset is not None:
                found[f"{prefix}eval_loss"], metrics[prefix] = trainer.validation_metrics(model if prefix else None)
            answers[prefix] = self.answered(model, self.questions[: self.recipe.training.evaluation_rows])
        rows = self._rows(metrics["base_"], metrics[""], iter(zip(answers["base_"], answers[""], strict=True)))
        return found | kept(self.job, rows)

    def _rows(
        self, before: list[PreferenceMetrics], after: list[PreferenceMetrics], answers: Iterator[tuple[str, str]]
    ) -> list[Prediction]:
        rows = []
        for record, old, new in zip((record.value for record in self.records), before, after, strict=False):
            base, fine_tuned = next(answers, ("", "")) if self.recipe.task.question(record) else ("", "")
            prompt = asked(Question(record["prompt"], ""))
            if "chosen" in record:
                scores = {"preferred": (old.preferred, new.preferred), "margin": (old.margin, new.margin)}
                rows.append(Prediction(prompt, record["chosen"], base, fine_tuned, scores, record["rejected"]))
            else:
                good, bad = (record["completion"], "") if record["label"] else ("", record["completion"])
                scores = {"reward_accuracy": (old.reward_accuracy, new.reward_accuracy)}
                rows.append(Prediction(prompt, good, base, fine_tuned, scores, bad))
        return rows

"""Trainer for preference optimisation: the losses of DPO, IPO, KTO and ORPO in a subclass of `StudioTrainer`.

The reference model, which all losses but ORPO compare with, is the same model with its delta disabled; there is no
second copy of the base model. The losses equal those of TRL 1.16 (`tests/training/test_preference.py` compares them),
so values of β recommended for TRL apply here too. Independent of where the pairs come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F

from studio.evaluation.scores import preferred
from studio.tasks import IGNORED
from studio.tasks.preference import Pair
from studio.training.batches import Examples, pad
from studio.training.trainer import StudioTrainer


class Answers(Examples):
    """Dataset of pairs, or of single answers labelled good or bad, as {"answers": [{"input_ids", "labels", "good"}]}.

    "good" is true for the chosen answer of a pair and for a single answer that is labelled good.
    """

    def __getitem__(self, index: int) -> dict:
        item = self.encoded[index]
        rows = [(item, True), (item.rejected, False)] if isinstance(item, Pair) else [(item, item.good)]
        return {"answers": [{"input_ids": row.ids, "labels": row.labels, "good": good} for row, good in rows]}


@dataclass
class AnswerCollator:
    """Collate examples into {"input_ids", "labels", "good", "tokens"}. For pairs, the rows of all chosen answers come
    first, then those of the rejected ones in the same order.

    mismatched: also return "other_ids" and "other_labels", each prompt with the answer of the row before it, from which
    KTO estimates the KL divergence from the reference model (Ethayarajh 2024, arXiv:2402.01306, §4.1).
    """

    pad_id: int
    max_length: int
    mismatched: bool = False

    def __call__(self, items: list[dict]) -> dict:
        rows = [
            answer for place in range(len(items[0]["answers"])) for answer in (item["answers"][place] for item in items)
        ]
        tokens = sum(len(row["input_ids"]) for row in rows)
        batch = {**pad(rows, self.pad_id), "good": torch.tensor([row["good"] for row in rows]), "tokens": tokens}
        if self.mismatched:
            others = pad(
                [self._mixed(row, before) for row, before in zip(rows, [rows[-1], *rows[:-1]], strict=True)],
                self.pad_id,
            )
            batch |= {"other_ids": others["input_ids"], "other_labels": others["labels"]}
        return batch

    def _mixed(self, row: dict, other: dict) -> dict:
        prompt, (start, end) = row["input_ids"][: _span(row["labels"])[0]], _span(other["labels"])
        answer = other["input_ids"][start:end]
        return {
            "input_ids": (prompt + answer)[: self.max_length],
            "labels": ([IGNORED] * len(prompt) + answer)[: self.max_length],
        }


def _span(labels: list[int]) -> tuple[int, int]:
    """(start, end) of the labelled tokens, from the first to one past the last."""
    places = [at for at, label in enumerate(labels) if label != IGNORED]
    return places[0], places[-1] + 1


@dataclass
class AnswerLogProbs:
    """Log-probability of each answer, summed over its tokens, and its token count: tensors of shape [rows]."""

    sums: torch.Tensor
    counts: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        return self.sums / self.counts.clamp(min=1)


class PreferenceTrainer(StudioTrainer):
    """See the module's docstring. `task` gives the algorithm, β and the loss weights."""

    def __init__(self, model, args, *, task, **rest):
        super().__init__(model, args, **rest)
        self.task = task
        self.model_accepts_loss_kwargs = (
            False  # the loss is a mean over rows or pairs: Trainer must divide it by gradient_accumulation_steps
        )
        self._learnt = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]

    def answer_log_probs(self, model, ids: torch.Tensor, labels: torch.Tensor) -> AnswerLogProbs:
        losses, counted = self.token_losses(model, labels, input_ids=ids)
        return AnswerLogProbs(-losses.sum(1), counted.sum(1))

    @contextmanager
    def before(self, model) -> Iterator[torch.nn.Module]:
        """Within this context, `model` is the reference model: delta disabled, eval mode, no gradients."""
        training, virtual = model.training, self.virtual
        self.virtual = 0
        model.eval()
        try:
            with torch.no_grad(), self.model.disable_adapter():
                yield model
        finally:
            self.virtual = virtual
            model.train(training)
            for (
                parameter,
                requires_grad,
            ) in (
                self._learnt
            ):  # when adapters are enabled again, peft makes all their parameters trainable, even LoRA-FA's frozen A
                parameter.requires_grad_(requires_grad)

    # ---- loss -------------------------------------------------------------------------------------------------

    def _loss(self, model, inputs):
        if model.training:
            self.count_tokens(inputs)
        return self._loss_terms(model, inputs)[0], 1

    def _loss_terms(
        self, model, inputs, *, before_training: bool = False
    ) -> tuple[torch.Tensor, AnswerLogProbs, torch.Tensor]:
        """Return (mean loss of the batch, log-probabilities of the answers, log-ratio of each answer [rows]).

        The log-ratio is the answer's log-probability under `model` minus that under the reference model. ORPO has no
        reference model and uses the answer's mean log-probability per token instead. before_training: `model` is the
        reference model itself, so all log-ratios are 0.
        """
        task, good = self.task, inputs["good"]
        now = self.answer_log_probs(model, inputs["input_ids"], inputs["labels"])
        if task.algorithm == "orpo":
            gains, losses = now.means, self._orpo(now)
        else:
            gains, moved = (
                (torch.zeros_like(now.sums), 0.0) if before_training else self._log_ratios(model, inputs, now)
            )
            losses = self._kto(gains, good, moved) if task.algorithm == "kto" else self._dpo(gains, now)
        loss = losses.mean()
        weight = task.sft_weight + (task.algorithm == "orpo")  # ORPO includes the SFT loss with weight 1
        if weight and good.any():
            loss = loss - weight * now.sums[good].sum() / now.counts[good].sum()
        return loss, now, gains.detach()

    def _log_ratios(self, model, inputs, now: AnswerLogProbs) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Return (log-ratio of each answer to the reference model [rows], KL estimate for KTO, otherwise 0).

        The KL estimate is the mean log-ratio of the mismatched answers, at least 0.
        """
        others = (inputs["other_ids"], inputs["other_labels"]) if "other_ids" in inputs else None
        with self.before(model) as old:
            then = self.answer_log_probs(old, inputs["input_ids"], inputs["labels"]).sums
            moved = -self.answer_log_probs(old, *others).sums.mean() if others else 0.0
        if others:
            with torch.no_grad():
                moved = (moved + self.answer_log_probs(model, *others).sums.mean()).clamp(min=0)
        return now.sums - then, moved

    def _dpo(self, gains: torch.Tensor, now: AnswerLogProbs) -> torch.Tensor:
        """DPO: −log σ(β·Δ) (Rafailov 2023, arXiv:2305.18290, eq. 7). IPO: (Δ − 1/2β)² with log-ratios per token
        (Azar 2023, arXiv:2310.12036, eq. 17). Δ is the log-ratio of the chosen minus that of the rejected answer.
        """
        if self.task.algorithm == "ipo":
            better, worse = (gains / now.counts.clamp(min=1)).chunk(2)
            return (better - worse - 1 / (2 * self.task.beta)) ** 2
        better, worse = gains.chunk(2)
        return -F.logsigmoid(self.task.beta * (better - worse))

    def _kto(self, gains: torch.Tensor, good: torch.Tensor, moved: torch.Tensor | float) -> torch.Tensor:
        """KTO: 1 − σ(±β·(log-ratio − KL)), + for desirable and − for undesirable answers, times the answer's weight
        (Ethayarajh 2024, arXiv:2402.01306, eq. 7).
        """
        sign = torch.where(good, 1.0, -1.0)
        weight = torch.where(
            good, getattr(self.task, "desirable_weight", 1.0), getattr(self.task, "undesirable_weight", 1.0)
        )
        return weight * (1 - torch.sigmoid(self.task.beta * sign * (gains - moved)))

    def _orpo(self, now: AnswerLogProbs) -> torch.Tensor:
        """ORPO: −β·log σ(log odds(chosen) − log odds(rejected)), with mean log-probabilities per token (Hong 2024,
        arXiv:2403.07691, eq. 7). `_loss_terms` adds the SFT loss.
        """
        better, worse = now.means.chunk(2)
        odds = (better - worse) - (torch.log(-torch.expm1(better)) - torch.log(-torch.expm1(worse)))
        return -self.task.beta * F.logsigmoid(odds)

    # ---- validation ---------------------------------------------------------------------------------------------

    def validation(self, model=None) -> dict[str, float]:
        """Return means over the validation set: {"loss", "reward_accuracy"}, for pairs also {"preferred",
        "reward_margin"}.

        The reward of an answer is β times its log-ratio (ORPO: β times its mean log-probability per token).
        """
        loss, found = self.validation_metrics(model)
        figures = {"loss": loss, "reward_accuracy": fmean(item.reward_accuracy for item in found)}
        if found[0].margin is not None:
            figures |= {
                "preferred": fmean(item.preferred for item in found),
                "reward_margin": fmean(item.reward_margin for item in found),
            }
        return figures

    @torch.no_grad()
    def validation_metrics(self, model=None) -> tuple[float, list[PreferenceMetrics]]:
        """Return (mean loss, metrics of each validation example) of `model`, a reference model, or by default of the
        model being fine-tuned.
        """
        own = model is None
        model = (self.model_wrapped if own else model).eval()
        virtual, self.virtual = self.virtual, self.virtual if own else 0
        total, found = 0.0, []
        try:
            for inputs in self.get_eval_dataloader():
                inputs = self._prepare_inputs(inputs)
                with self.compute_loss_context_manager():
                    loss, now, gains = self._loss_terms(model, inputs, before_training=not own)
                batch = self._judgements(now.sums.tolist(), gains.tolist(), inputs["good"].tolist())
                total, found = total + loss.item() * len(batch), found + batch
        finally:
            self.virtual = virtual
        return total / len(found), found

    def _judgements(self, sums: list[float], gains: list[float], good: list[bool]) -> list[PreferenceMetrics]:
        if not isinstance(self.eval_dataset.encoded[0], Pair):
            return [
                PreferenceMetrics(preferred(gain, 0.0) if wanted else preferred(0.0, gain))
                for gain, wanted in zip(gains, good, strict=True)
            ]
        half = len(sums) // 2
        return [
            PreferenceMetrics(
                preferred(gains[at], gains[at + half]),
                preferred(sums[at], sums[at + half]),
                sums[at] - sums[at + half],
                self.task.beta * (gains[at] - gains[at + half]),
            )
            for at in range(half)
        ]


@dataclass(frozen=True)
class PreferenceMetrics:
    """Metrics of one validation example.

    reward_accuracy: 1 where the chosen answer of a pair has the larger reward, or where a single answer has a positive
    reward if it is good and a negative one if bad; ½ where the rewards are equal or 0; else 0. For pairs only:
    preferred, 1 where the chosen answer is the more likely one, ½ where both are equally likely, else 0; margin, the
    difference of their log-probabilities in nats; reward_margin, the difference of their rewards.
    """

    reward_accuracy: float
    preferred: float | None = None
    margin: float | None = None
    reward_margin: float | None = None

"""The trainer for preferences: DPO, IPO, KTO and ORPO as losses over `StudioTrainer`, whose order, checkpoints and hooks they share.

The model before training, which all but ORPO compare with, is the same model with its delta switched off: there is no second copy
of the base. Losses as TRL 1.16 computes them (`tests/training/test_preference.py` holds them side by side), so that what was learnt about
β there holds here. It knows nothing about where pairs come from.
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
    """Pairs or judged answers as dictionaries: each answer's ids and labels, and whether it is wanted."""

    def __getitem__(self, index: int) -> dict:
        item = self.encoded[index]
        rows = [(item, True), (item.rejected, False)] if isinstance(item, Pair) else [(item, item.good)]
        return {"answers": [{"input_ids": row.ids, "labels": row.labels, "good": good} for row, good in rows]}


@dataclass
class AnswerCollator:
    """Rows → {"input_ids", "labels", "good", "tokens"}; of pairs all better answers come first, then the worse ones in the same order.

    mismatched: also "other_ids" and "other_labels", each prompt with the answer of the row before it, from which KTO tells how far
    the model has moved altogether (Ethayarajh 2024, arXiv:2402.01306, §4.1).
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
    """Where the learnt tokens begin and end."""
    places = [at for at, label in enumerate(labels) if label != IGNORED]
    return places[0], places[-1] + 1


@dataclass
class AnswerLogProbs:
    """Log-probabilities of whole answers, and how many tokens each has: tensors of rows."""

    sums: torch.Tensor
    counts: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        return self.sums / self.counts.clamp(min=1)


class PreferenceTrainer(StudioTrainer):
    """`task` says the algorithm and its weights; see the module's docstring."""

    def __init__(self, model, args, *, task, **rest):
        super().__init__(model, args, **rest)
        self.task = task
        self.model_accepts_loss_kwargs = (
            False  # the loss is a mean over pairs, so Trainer may divide it by the accumulation
        )
        self._learnt = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]

    def answer_log_probs(self, model, ids: torch.Tensor, labels: torch.Tensor) -> AnswerLogProbs:
        losses, counted = self.token_losses(model, labels, input_ids=ids)
        return AnswerLogProbs(-losses.sum(1), counted.sum(1))

    @contextmanager
    def before(self, model) -> Iterator[torch.nn.Module]:
        """`model` as it was before training: its delta switched off, no dropout, no gradients."""
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
                labelled,
            ) in (
                self._learnt
            ):  # peft makes all of a delta learnable when it is switched on again, LoRA-FA's frozen half too
                parameter.requires_grad_(labelled)

    # ---- loss -------------------------------------------------------------------------------------------------

    def _loss(self, model, inputs):
        if model.training:
            self.tokens_seen += int(inputs["tokens"])
        return self._loss_terms(model, inputs)[0], 1

    def _loss_terms(
        self, model, inputs, *, before_training: bool = False
    ) -> tuple[torch.Tensor, AnswerLogProbs, torch.Tensor]:
        """(mean loss of a batch, what `model` says, what each answer gained by the lesson).

        untaught: `model` is the model before training, so nothing was gained. ORPO compares with nothing: there the gain is the
        answer's mean log-probability.
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
        weight = task.sft_weight + (task.algorithm == "orpo")  # ORPO is imitation with a comparison beside it
        if weight and good.any():
            loss = loss - weight * now.sums[good].sum() / now.counts[good].sum()
        return loss, now, gains.detach()

    def _log_ratios(self, model, inputs, now: AnswerLogProbs) -> tuple[torch.Tensor, torch.Tensor | float]:
        """(what each answer gained in log-probability, for KTO: how far the model has moved altogether)."""
        others = (inputs["other_ids"], inputs["other_labels"]) if "other_ids" in inputs else None
        with self.before(model) as old:
            then = self.answer_log_probs(old, inputs["input_ids"], inputs["labels"]).sums
            moved = -self.answer_log_probs(old, *others).sums.mean() if others else 0.0
        if others:
            with torch.no_grad():
                moved = (moved + self.answer_log_probs(model, *others).sums.mean()).clamp(min=0)
        return now.sums - then, moved

    def _dpo(self, gains: torch.Tensor, now: AnswerLogProbs) -> torch.Tensor:
        """−log σ(β·Δ) (Rafailov 2023, arXiv:2305.18290, eq. 7) or, by the token, (Δ − 1/2β)² (IPO: Azar 2023, arXiv:2310.12036, eq. 17),
        where Δ is how much more the better answer has gained than the worse one."""
        if self.task.algorithm == "ipo":
            better, worse = (gains / now.counts.clamp(min=1)).chunk(2)
            return (better - worse - 1 / (2 * self.task.beta)) ** 2
        better, worse = gains.chunk(2)
        return -F.logsigmoid(self.task.beta * (better - worse))

    def _kto(self, gains: torch.Tensor, good: torch.Tensor, moved: torch.Tensor | float) -> torch.Tensor:
        """1 − σ(±β·(gain − how far the model moved altogether)) (Ethayarajh 2024, arXiv:2402.01306, eq. 7)."""
        sign = torch.where(good, 1.0, -1.0)
        weight = torch.where(
            good, getattr(self.task, "desirable_weight", 1.0), getattr(self.task, "undesirable_weight", 1.0)
        )
        return weight * (1 - torch.sigmoid(self.task.beta * sign * (gains - moved)))

    def _orpo(self, now: AnswerLogProbs) -> torch.Tensor:
        """−β·log σ(log odds(better) − log odds(worse)) by the token (Hong 2024, arXiv:2403.07691, eq. 7); `_judge` adds the imitation."""
        better, worse = now.means.chunk(2)
        odds = (better - worse) - (torch.log(-torch.expm1(better)) - torch.log(-torch.expm1(worse)))
        return -self.task.beta * F.logsigmoid(odds)

    # ---- validation ---------------------------------------------------------------------------------------------

    def validation(self, model=None) -> dict[str, float]:
        """Means over the validation set: {"loss", "reward_accuracy"} and of pairs also {"preferred", "reward_margin"}.

        The reward of an answer is β times what it gained in log-probability (ORPO: β times that of a token).
        """
        loss, found = self.judged(model)
        figures = {"loss": loss, "reward_accuracy": fmean(item.right for item in found)}
        if found[0].margin is not None:
            figures |= {
                "preferred": fmean(item.preferred for item in found),
                "reward_margin": fmean(item.reward_margin for item in found),
            }
        return figures

    @torch.no_grad()
    def judged(self, model=None) -> tuple[float, list[PreferenceMetrics]]:
        """(mean loss, what is thought of each validation example) by `model`, a model before training, or by the one that is being fine-tuned."""
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
    """What a model thinks of a validation example. right: whether the lesson moved it the right way (½: not at all).

    Of pairs only: whether the better answer is the likelier one, by how much (nats), and the difference of the rewards.
    """

    right: float
    preferred: float | None = None
    margin: float | None = None
    reward_margin: float | None = None

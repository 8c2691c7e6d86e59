"""Chat and text tasks: language modelling, evaluated by validation loss and by generated answers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from studio.chat.generation import chat_stop, generate_answers
from studio.data.reasoning import split_reasoning
from studio.data.records import Records
from studio.evaluation.predictions import Prediction
from studio.evaluation.scores import exact_match, rouge_l, token_f1
from studio.models.chat_tokenizer import ChatTemplateError
from studio.tasks import Question
from studio.tasks.answers import find_answer
from studio.training import checks
from studio.training.batches import Collator, Examples, sample_batches
from studio.training.encodings import ExampleFile
from studio.training.kinds.base import Kind
from studio.training.outcome import fine_tuned_and_base, kept
from studio.training.trainer import StudioTrainer
from studio.words import Sentence


class Generation(Kind):
    """Evaluates validation loss, perplexity and the generated answers to validation questions."""

    def __init__(self, job, recipe, base):
        super().__init__(job, recipe, base)
        self.tokenizer = recipe.tokenizer(base)
        self.packed = recipe.training.packing
        self.questions: list[Question] = []

    def examples(self, dataset):
        training = self.recipe.training
        train, left = self.labelled_examples(dataset.train)
        if not train and self.refused:
            raise self.refused[0]
        checks.labelled(train, left, training.max_length)
        if left:
            self.job.log(
                Sentence(
                    "{count} {count:example has|examples have} no token to learn within {length} tokens "
                    "and {count:was|were} left out.",
                    count=left,
                    length=training.max_length,
                )
            )
        self.log_truncated_rows(train)
        validation, _ = self.labelled_examples(dataset.validation)
        questions = (
            self.with_expected(question, record.value)
            for record in dataset.validation
            if (question := self.recipe.task.question(record.value)) and self.can_be_rendered(question)
        )
        self.questions = list(islice(questions, max(training.evaluation_rows, training.sample_prompts)))
        return train, validation

    def can_be_rendered(self, question: Question) -> bool:
        """Whether the chat template can render the question."""
        try:
            self.tokenizer.render(question.messages, add_generation_prompt=True, tools=question.tools)
        except ChatTemplateError:
            return False
        return True

    def with_expected(self, question: Question, record: dict) -> Question:
        """Return `question` with the tool calls of the expected answer written as the chat template renders them, since
        the model generates that form.
        """
        *before, last = record["messages"]
        if not last.get("tool_calls"):
            return question
        answer = find_answer(
            self.tokenizer,
            self.recipe.task.messages({"messages": [*before, {**last, "weight": 1}]}),
            len(question.messages),
            question.tools,
        )
        message, end = self.tokenizer.decode(self.tokenizer.encode(answer.text).ids), chat_stop(self.tokenizer).text
        return replace(question, expected=split_reasoning(message.partition(end)[0] if end else message)[1].strip())

    def labelled_examples(self, records: Records) -> tuple[ExampleFile, int]:
        """Return (examples with at least one labelled token, number of examples without any)."""
        found, left = ExampleFile(self.folder), 0
        for example, place in self.encoded(records):
            if example.labelled:
                found.append(example, place)
            else:
                left += 1
        return found.seal(), left

    def check(self, model, material):
        if self.packed:
            checks.packing_matches_padding(model, material.train, self.tokenizer.pad_id)

    def batches(self, material):
        training = self.recipe.training
        return sample_batches(
            material.train, training.batch_size, training.seed, self.tokenizer.pad_id, self.job.torch_device
        )

    def trainer(self, model, options, material, callbacks):
        return StudioTrainer(
            model,
            options,
            method=self.recipe.method,
            train=Examples(material.train),
            validation=Examples(material.validation) if material.validation else None,
            collator=Collator(self.tokenizer.pad_id, self.packed),
            group_by_length=self.recipe.training.group_by_length,
            callbacks=callbacks,
        )

    def samples(self, trainer, material):
        """Answers of the current model to the first validation prompts, the same ones at each evaluation."""
        asked = self.questions[: self.recipe.training.sample_prompts]
        if not asked:
            return []
        text = generate_answers(
            trainer.model,
            self.tokenizer,
            [question.messages for question in asked],
            self.recipe.training.answer_length,
            tools=[question.tools for question in asked],
        )
        return [
            {"prompt": q.messages[-1]["content"], "expected": q.expected, "answer": answer}
            for q, answer in zip(asked, text, strict=True)
        ]

    def outcome(self, trainer, material, bare):
        """Return eval_loss, perplexity and the scores of the generated answers, for both models."""
        found: dict = {}
        text: dict[str, list[str]] = {}
        for prefix, model in fine_tuned_and_base(self.job, trainer.model, bare):
            if trainer.eval_dataset is not None:
                loss = trainer.validation(model if prefix else None)["loss"]
                found |= {f"{prefix}eval_loss": loss, f"{prefix}perplexity": math.exp(min(loss, 50))}
            text[prefix] = self.answered(model, self.questions[: self.recipe.training.evaluation_rows])
        rows = [
            compared(question, base, fine_tuned)
            for question, base, fine_tuned in zip(self.questions, text["base_"], text[""], strict=False)
        ]
        return found | kept(self.job, rows)

    def answered(self, model: torch.nn.Module, asked: list[Question]) -> list[str]:
        """Generate the answers of `model` to the questions. Raises Stopped where a stop is requested."""
        training = self.recipe.training
        text, size = [], training.batch_size * 2
        for start in range(0, len(asked), size):
            self.job.check_stop()
            part = asked[start : start + size]
            text += generate_answers(
                model,
                self.tokenizer,
                [question.messages for question in part],
                training.answer_length,
                batch_size=size,
                tools=[question.tools for question in part],
            )
        return text

    def probe(self, model, material):
        ids = torch.tensor([material.train[0].ids[:64]], device=next(model.parameters()).device)
        with torch.no_grad():
            return model.eval()(input_ids=ids, use_cache=False).logits.float().cpu()

    def save_companion_files(self, folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(self.tokenizer.template, encoding="utf-8")


def compared(question: Question, base: str, fine_tuned: str) -> Prediction:
    """Score both answers against the expected one, without their reasoning."""
    pair = [split_reasoning(answer)[1] for answer in (base, fine_tuned)]
    scores = {
        score.__name__: (score(question.expected, pair[0]), score(question.expected, pair[1]))
        for score in (exact_match, token_f1, rouge_l)
    }
    return Prediction(asked(question), question.expected.strip(), base, fine_tuned, scores)


def asked(question: Question) -> str:
    """The question as text: the last message, preceded by the earlier ones with their roles."""
    *before, last = question.messages
    return "\n\n".join([*(f"{turn['role']}: {turn['content']}" for turn in before), last["content"]])

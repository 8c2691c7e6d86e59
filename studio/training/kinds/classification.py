"""Text classification: a new head on the base model predicts the probability of each class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from studio.chat.classification import class_logits, text_batch
from studio.models.chat_tokenizer import ChatTokenizer
from studio.training.batches import Examples, in_order
from studio.training.encodings import ExampleFile
from studio.training.kinds.classes import Classes, ClassTrainer, Names


class Labelled(Examples):
    """Dataset of encoded texts with their labels in the form that the loss takes."""

    def __init__(self, encoded: ExampleFile, kind: Classification):
        super().__init__(encoded)
        self.kind = kind

    def __getitem__(self, index: int) -> dict:
        item = self.encoded[index]
        return {"input_ids": item.ids, "labels": self.kind.numbers(item.class_names)}

    @property
    def expected(self) -> list[Names]:
        return self.encoded.class_names


@dataclass
class Collator:
    """Collate items into {"input_ids", "attention_mask", "labels", "tokens"}; "tokens" excludes padding."""

    pad_id: int

    def __call__(self, items: list[dict]) -> dict:
        return {
            **text_batch([item["input_ids"] for item in items], self.pad_id),
            "labels": torch.tensor([item["labels"] for item in items]),
            "tokens": sum(len(item["input_ids"]) for item in items),
        }


class Classification(Classes):
    """Text classification: the head pools at each text's last token."""

    head = "text_classification"

    def __init__(self, job, recipe, base):
        super().__init__(job, recipe, base)
        self.tokenizer, self.multi_label = ChatTokenizer(base), recipe.task.multi_label

    def examples(self, dataset):
        train, validation = ExampleFile(self.folder), ExampleFile(self.folder)
        for example, place in self.encoded(dataset.train):
            train.append(example, place)
        train.seal()
        self.labels = self.found_names(train.class_names)
        for names, (example, place) in self.known(
            (pair[0].class_names, pair) for pair in self.encoded(dataset.validation)
        ):
            validation.append(replace(example, class_names=names), place)
        self.records = dataset.validation[validation.seal().places]
        self.log_truncated_rows(train)
        return train, validation

    def load(self, folder, precision=None):
        model = super().load(folder, precision)
        model.config.get_text_config().pad_token_id = self.tokenizer.pad_id
        return model

    def batches(self, material):
        training, data, collate = self.recipe.training, Labelled(material.train, self), Collator(self.tokenizer.pad_id)

        def batches(count: int) -> list[dict]:
            made = [
                collate([data[index] for index in part])
                for part in in_order(len(data), training.batch_size, training.seed, count)
            ]
            return [
                {name: tensor.to(self.job.torch_device) for name, tensor in batch.items() if name != "tokens"}
                for batch in made
            ]

        return batches

    def trainer(self, model, options, material, callbacks):
        made = ClassTrainer(
            model,
            options,
            method=self.recipe.method,
            train=Labelled(material.train, self),
            validation=Labelled(material.validation, self) if material.validation else None,
            collator=Collator(self.tokenizer.pad_id),
            group_by_length=self.recipe.training.group_by_length,
            callbacks=callbacks,
        )
        made.kind = self
        return made

    def shown(self, index):
        return self.records[index].value["text"]

    def probe(self, model, material):
        inputs = text_batch([item.ids[:64] for item in material.train[:3]], self.tokenizer.pad_id)
        device = next(model.parameters()).device
        with torch.no_grad():
            return class_logits(
                model.eval(),
                {name: tensor.to(device) for name, tensor in inputs.items()},
                has_virtual_tokens=self.recipe.method.prompt_learning,
            ).cpu()

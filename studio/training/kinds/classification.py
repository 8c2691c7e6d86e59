"""Texts and their labels: a new head over the base model says the probability of each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from studio.chat.classes import class_logits, text_batch
from studio.models.codec import Codec
from studio.tasks import Encoded
from studio.training.batches import in_order
from studio.training.kinds.classes import Classes, ClassTrainer, Names
from studio.words import Sentence


class Labelled(Dataset):
    """Encoded texts with the numbers of their classes."""

    def __init__(self, encoded: list[Encoded], kind: Classification):
        self.encoded, self.several = encoded, kind.several
        self.numbers = [kind.numbers(item.names) for item in encoded]

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": self.encoded[index].ids, "labels": self.numbers[index]}

    @property
    def expected(self) -> list[Names]:
        return [item.names for item in self.encoded]

    @property
    def lengths(self) -> list[int]:
        return [len(item.ids) for item in self.encoded]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)


@dataclass
class Collator:
    """Items → {"input_ids", "attention_mask", "labels"}; "tokens" counts the real ones."""

    pad_id: int

    def __call__(self, items: list[dict]) -> dict:
        return {**text_batch([item["input_ids"] for item in items], self.pad_id), "labels": torch.tensor([item["labels"] for item in items]),
                "tokens": sum(len(item["input_ids"]) for item in items)}


class Classification(Classes):
    """The head reads each text's last token."""

    head = "text classes"

    def __init__(self, job, recipe, base):
        super().__init__(job, recipe, base)
        self.codec, self.several = Codec(base), recipe.task.several
        self.texts: list[str] = []

    def examples(self, dataset):
        task, length = self.recipe.task, self.recipe.training.max_length
        train = [task.encode(record.value, self.codec, length)[0] for record in dataset.train]
        self.labels = self.found_names([item.names for item in train])
        both = [(record.value["text"], task.encode(record.value, self.codec, length)[0]) for record in dataset.heldout]
        both = self.known(both, lambda pair: pair[1].names)
        self.texts = [text for text, _ in both]
        cut = sum(example.cut > 0 for example in train)
        if cut:
            self.job.log(Sentence("{count} examples are longer than {length} tokens and were cut there.", count=cut, length=length))
        return train, [item for _, item in both]

    def load(self, folder, precision=None):
        model = super().load(folder, precision)
        model.config.get_text_config().pad_token_id = self.codec.pad_id
        return model

    def batches(self, material):
        training, data, collate = self.recipe.training, Labelled(material.train, self), Collator(self.codec.pad_id)

        def batches(count: int) -> list[dict]:
            made = [collate([data[index] for index in part]) for part in in_order(len(data), training.batch_size, training.seed, count)]
            return [{name: tensor.to(self.job.torch_device) for name, tensor in batch.items() if name != "tokens"} for batch in made]

        return batches

    def trainer(self, model, options, material, callbacks):
        made = ClassTrainer(
            model, options, method=self.recipe.method, train=Labelled(material.train, self), heldout=Labelled(material.heldout, self) if material.heldout else None,
            collator=Collator(self.codec.pad_id), group_by_length=self.recipe.training.group_by_length, callbacks=callbacks)
        made.kind = self
        return made

    def shown(self, index):
        return self.texts[index]

    def probe(self, model, material):
        inputs = text_batch([item.ids[:64] for item in material.train[:3]], self.codec.pad_id)
        device = next(model.parameters()).device
        with torch.no_grad():
            return class_logits(model.eval(), {name: tensor.to(device) for name, tensor in inputs.items()}, prompts=self.recipe.method.prompt_learning).cpu()

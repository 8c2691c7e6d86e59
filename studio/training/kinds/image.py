"""Image classification: a new head on a vision model predicts the probability of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from studio.data.pictures import open_picture, title_of
from studio.data.records import Records
from studio.models.image_processor import ImageProcessor
from studio.models.shape import read_shape
from studio.training.batches import in_order
from studio.training.kinds.classes import Classes, ClassTrainer, Names
from studio.words import Sentence

_IN_MEMORY = 512 * 2**20  # bytes of preprocessed pixels that are cached across epochs
_SHIFT = 12  # augmentation shifts an image by up to 1/12 of its width


@dataclass
class ImageDataset:
    """The records of images, read from disk one at a time, and the class of each."""

    records: Records
    expected: list[Names]

    def __len__(self) -> int:
        return len(self.expected)

    def place(self, index: int) -> str:
        """Path of image `index`."""
        return self.records[index].value["image"]


class Pictures(Dataset):
    """Dataset of images as {"pixel_values", "labels"}. augment: flip and shift them at random.

    The augmentation is seeded by run seed, epoch and index, so that a resumed run repeats it. The global generator
    would not: batches are prefetched, so its state in a checkpoint is one batch ahead.
    """

    def __init__(self, album: ImageDataset, kind: Image, augment: bool = False):
        self.album, self.expected, self.kind, self.augment = album, album.expected, kind, augment
        self.epoch: Callable[[], float | None] = lambda: 0  # the current epoch; set to the trainer's state
        self._kept: dict[int, torch.Tensor] = {}
        self._free = _IN_MEMORY

    def __len__(self) -> int:
        return len(self.album)

    def __getitem__(self, index: int) -> dict:
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = self.kind.processor.pixels(open_picture(self.album.place(index)))
            if self._free > 0:
                self._kept[index] = pixels
                self._free -= pixels.nbytes
        if self.augment:
            seed = (self.kind.recipe.training.seed * 1_000_003 + int(self.epoch() or 0)) * 1_000_003 + index
            pixels = augmented(pixels, torch.Generator().manual_seed(seed % 2**63))
        return {"pixel_values": pixels, "labels": self.kind.numbers(self.expected[index])}

    @property
    def tokens(self) -> int:
        return self.kind.patches * len(self)


def augmented(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Flip an image [channels, height, width] horizontally with probability ½ and shift it at random; the uncovered
    border repeats the edge pixels.
    """
    if torch.rand((), generator=generator) < 0.5:
        pixels = pixels.flip(-1)
    room = pixels.shape[-1] // _SHIFT
    down, right = torch.randint(0, 2 * room + 1, (2,), generator=generator).tolist()
    padded = torch.nn.functional.pad(pixels[None], [room] * 4, mode="replicate")[0]
    return padded[:, down : down + pixels.shape[-2], right : right + pixels.shape[-1]]


class Image(Classes):
    """Image classification: the head reads the model's class token."""

    head = "image_classification"

    def __init__(self, job, recipe, base):
        super().__init__(job, recipe, base)
        self.processor, self.patches = ImageProcessor(base), read_shape(base).context

    def examples(self, dataset):
        same: dict[Names, Names] = {}  # equal tuples are stored once
        train = ImageDataset(
            dataset.train,
            [same.setdefault(names, names) for names in ((value["label"],) for value in self.iterate(dataset.train))],
        )
        self.labels = self.found_names(train.expected)
        found = list(
            self.known(((value["label"],), place) for place, value in enumerate(self.iterate(dataset.validation)))
        )
        self.measured = ImageDataset(
            dataset.validation[np.array([place for _, place in found], np.int64)], [names for names, _ in found]
        )
        return train, self.measured

    def collate(self, items: list[dict]) -> dict:
        """Collate items into {"pixel_values", "labels", "tokens"}; "tokens" is the number of patches."""
        return {
            "pixel_values": torch.stack([item["pixel_values"] for item in items]),
            "labels": torch.tensor([item["labels"] for item in items]),
            "tokens": self.patches * len(items),
        }

    def batches(self, material):
        training, data = self.recipe.training, Pictures(material.train, self)

        def batches(count: int) -> list[dict]:
            made = [
                self.collate([data[index] for index in part])
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
            train=Pictures(material.train, self, self.recipe.task.augment),
            validation=Pictures(material.validation, self) if material.validation else None,
            collator=self.collate,
            group_by_length=False,
            callbacks=callbacks,
        )
        made.kind = self
        made.train_dataset.epoch = lambda: made.state.epoch
        self.job.log(Sentence("{count} classes: {names}.", count=len(self.labels), names=", ".join(self.labels[:20])))
        return made

    def shown(self, index):
        return title_of(self.measured.place(index))

    def probe(self, model, material):
        device = next(model.parameters()).device
        pictures = Pictures(material.train, self)
        pixels = torch.stack([pictures[at]["pixel_values"] for at in range(min(3, len(pictures)))])
        with torch.no_grad():
            return model.eval()(pixel_values=pixels.to(device)).logits.float().cpu()

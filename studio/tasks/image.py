"""Image classification: one class per picture."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.options import option
from studio.tasks.base import Task
from studio.words import Sentence


class Image(Task):
    """Predicts which of some classes a picture belongs to, with a probability for each."""

    title: ClassVar[str] = "Pictures"
    verb: ClassVar[str] = "sort pictures"
    help: ClassVar[str] = "Sort pictures into classes, from a zip or folder with one folder of pictures for each class."
    order: ClassVar[int] = 6
    record_kind: ClassVar[str] = "image"
    modality: ClassVar[str] = "image"
    task_type: ClassVar[str] = "SEQ_CLS"  # the peft task type that accepts pixel_values and saves the new head
    kind: ClassVar[str] = "image"

    name: Literal["image"] = option("image", "Task", "", hidden=True)
    augment: bool = option(
        False,
        "Data augmentation",
        "Mirrors or slightly shifts each picture at random during training: helps with few pictures, harms where "
        "left and right mean something.",
    )

    @property
    def units(self):
        return {"loss": Sentence("nats per example"), "speed": Sentence("patches/s")}

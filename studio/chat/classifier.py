"""Fine-tuned classifiers of one base model: a text or a picture → the probability of each class.

Each classifier has its own head on the base model, so each is loaded by itself; the most recently used stay in
memory. Knows nothing about HTTP or jobs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from studio.chat.classification import class_logits, probabilities, text_batch
from studio.data.pictures import decode
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.image_processor import ImageProcessor
from studio.models.load import load_base
from studio.models.rope_scaling import apply_adapter
from studio.recipe import Recipe, recipe_from
from studio.tasks.length_policy import LengthPolicy
from studio.words import StudioError

_MAX_LOADED = {True: 3, False: 1}  # models in memory at once, small ones and others
_SMALL_MODEL = 100_000_000


class Classifiers:
    """The classifiers of the base model in `base`. name: the base's name as in a recipe. load_options: arguments of
    `load_base`.

    find(adapter id) → (folder, card); raises `StudioError` for an unknown id.
    """

    def __init__(self, base: Path, *, name: str, load_options: dict, find: Callable[[str], tuple[Path, dict]]):
        self.base, self.name, self.load_options, self._find = base, name, load_options, find
        self._loaded: OrderedDict[str, torch.nn.Module] = OrderedDict()
        self._lock = threading.Lock()

    def classify(self, adapter_id: str, text: str, picture: bytes = b"") -> dict:
        """Class probabilities of `text`, or of the picture file in bytes, by the adapter `adapter_id`.

        Returns {"labels", "probabilities", "multi_label", "sets" (label set → its labels, {} where there is one)}.
        Raises StudioError where the adapter belongs to another base model or there is nothing to classify.
        """
        folder, card = self._find(adapter_id)
        if card.get("base") != self.name or "labels" not in card:
            raise StudioError(
                "The adapter '{name}' belongs to the base model {base}, but {loaded} is loaded; choose an "
                "adapter of this base.",
                name=adapter_id,
                base=card.get("base"),
                loaded=self.name,
            )
        recipe = recipe_from(card["recipe"])
        inputs = self._pixels(picture) if recipe.task.modality == "image" else self._tokens(recipe, text)
        with self._lock, torch.no_grad():
            model = self._model(adapter_id, folder, card)
            device = next(model.parameters()).device
            logits = class_logits(model, {key: value.to(device) for key, value in inputs.items()})
        multi_label, sets = bool(card.get("multi_label")), card.get("sets") or {}
        found = probabilities(logits, multi_label, [len(labels) for labels in sets.values()])[0].tolist()
        return {"labels": card["labels"], "probabilities": found, "multi_label": multi_label, "sets": sets}

    def _pixels(self, picture: bytes) -> dict[str, torch.Tensor]:
        if not picture:
            raise StudioError("There is nothing to classify; choose a picture first.")
        return {"pixel_values": ImageProcessor(self.base).pixels(decode(picture))[None]}

    def _tokens(self, recipe: Recipe, text: str) -> dict[str, torch.Tensor]:
        """The text encoded as in training: by the task's own `encode`, with the same length policy and truncation."""
        if not text.strip():
            raise StudioError("There is nothing to classify; write a text first.")
        tokenizer = ChatTokenizer(self.base)
        record = {"text": text, "label": ""}
        example = recipe.task.encode(
            LengthPolicy(recipe, tokenizer)(record) or record, tokenizer, recipe.training.max_length
        )[0]
        return text_batch([example.ids], tokenizer.pad_id)

    def _model(self, adapter_id: str, folder: Path, card: dict) -> torch.nn.Module:
        if adapter_id in self._loaded:
            self._loaded.move_to_end(adapter_id)
            return self._loaded[adapter_id]
        full_model = card.get("kind") == "model"
        head = "image_classification" if card.get("task") == "image" else "text_classification"
        model = load_base(folder if full_model else self.base, head=head, labels=card["labels"], **self.load_options)
        if head == "text_classification":
            model.config.get_text_config().pad_token_id = ChatTokenizer(self.base).pad_id
        if not full_model:
            model = apply_adapter(model, folder)
        small = sum(parameter.numel() for parameter in model.parameters()) < _SMALL_MODEL
        while len(self._loaded) >= _MAX_LOADED[small]:
            self._loaded.popitem(last=False)
        self._loaded[adapter_id] = model.eval()
        return model

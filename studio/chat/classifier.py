"""Taught classifiers of one base model: a text or a picture → the probability of each class.

A classifier has a head of its own over the base, so each is loaded by itself; the last few stay in memory. It knows nothing about HTTP
or jobs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from studio.chat.classes import class_logits, probabilities, text_batch
from studio.data.pictures import decode
from studio.models.codec import Codec
from studio.models.context import lay
from studio.models.load import load_base
from studio.models.pictures import Processor
from studio.recipe import Recipe, recipe_from
from studio.tasks.fitting import Fitting
from studio.words import StudioError

_KEPT = {True: 3, False: 1}  # models in memory at once, small ones and others
_SMALL = 100_000_000


class Classifiers:
    """The classifiers of the base model in `base`. name: the base's name as in a recipe. how: arguments of `load_base`.

    find(adapter id) → (folder, card), or `StudioError`.
    """

    def __init__(self, base: Path, *, name: str, how: dict, find: Callable[[str], tuple[Path, dict]]):
        self.base, self.name, self.how, self._find = base, name, how, find
        self._loaded: OrderedDict[str, torch.nn.Module] = OrderedDict()
        self._turn = threading.Lock()

    def classify(self, who: str, text: str, picture: bytes = b"") -> dict:
        """{"labels", "probabilities", "several", "sets" (label set → its labels, {} where there is one)} of `text`, or of the picture in a file's bytes, as the adapter `who` sees it."""
        folder, card = self._find(who)
        if card.get("base") != self.name or "labels" not in card:
            raise StudioError(
                "The adapter '{name}' belongs to the base model {base}, but {loaded} is loaded; choose an adapter of this base.",
                name=who,
                base=card.get("base"),
                loaded=self.name,
            )
        recipe = recipe_from(card["recipe"])
        inputs = self._pixels(picture) if recipe.task.reads == "pictures" else self._tokens(recipe, text)
        with self._turn, torch.no_grad():
            model = self._model(who, folder, card)
            device = next(model.parameters()).device
            logits = class_logits(model, {key: value.to(device) for key, value in inputs.items()})
        several, sets = bool(card.get("several")), card.get("sets") or {}
        found = probabilities(logits, several, [len(labels) for labels in sets.values()])[0].tolist()
        return {"labels": card["labels"], "probabilities": found, "several": several, "sets": sets}

    def _pixels(self, picture: bytes) -> dict[str, torch.Tensor]:
        if not picture:
            raise StudioError("There is nothing to classify; choose a picture first.")
        return {"pixel_values": Processor(self.base).pixels(decode(picture))[None]}

    def _tokens(self, recipe: Recipe, text: str) -> dict[str, torch.Tensor]:
        """Read as in training: by the task's own `encode`, cut at the same length and the same end."""
        if not text.strip():
            raise StudioError("There is nothing to classify; write a text first.")
        codec = Codec(self.base)
        record = {"text": text, "label": ""}
        example = recipe.task.encode(Fitting(recipe, codec)(record) or record, codec, recipe.training.max_length)[0]
        return text_batch([example.ids], codec.pad_id)

    def _model(self, who: str, folder: Path, card: dict) -> torch.nn.Module:
        if who in self._loaded:
            self._loaded.move_to_end(who)
            return self._loaded[who]
        whole = card.get("kind") == "model"
        head = "image classes" if card.get("task") == "image" else "text classes"
        model = load_base(folder if whole else self.base, head=head, labels=card["labels"], **self.how)
        if head == "text classes":
            model.config.get_text_config().pad_token_id = Codec(self.base).pad_id
        if not whole:
            model = lay(model, folder)
        small = sum(parameter.numel() for parameter in model.parameters()) < _SMALL
        while len(self._loaded) >= _KEPT[small]:
            self._loaded.popitem(last=False)
        self._loaded[who] = model.eval()
        return model

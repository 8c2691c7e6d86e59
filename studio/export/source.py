"""`Source`: the adapter (or whole model) that is exported, with what its files and its base model's config say.

Only headers and JSON files are read, so the window can ask what fits without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from studio.home import Home
from studio.library import adapter_store
from studio.methods import METHODS
from studio.models.chat_tokenizer import read_json_object
from studio.models.resolve import local_folder, resolve_folder
from studio.models.shape import read_config
from studio.models.stored_tensors import read_header
from studio.store import Store
from studio.words import StudioError

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Source:
    """An adapter of the library: its id, name, folder and card."""

    adapter_id: str
    name: str
    folder: Path
    card: dict

    @property
    def whole(self) -> bool:
        """Whether it is a whole model (full fine-tuning, or merged) instead of an adapter over a base."""
        return self.card.get("kind") == "model"

    @property
    def own_type(self) -> bool:
        """Whether stock peft needs `studio.tuners` to load it."""
        method = METHODS.get(self.card.get("method", ""))
        return not self.whole and method is not None and not method.stock

    @property
    def writes_text(self) -> bool:
        """Whether it generates text; a classifier does not."""
        return "labels" not in self.card

    @property
    def head(self) -> str:
        """The key of `studio.models.load.HEADS` that the model is loaded with."""
        if self.writes_text:
            return "causal_lm"
        return "image_classification" if self.card.get("task") == "image" else "text_classification"

    @cached_property
    def base_folder(self) -> Path:
        """The folder of the base model. Raises StudioError if it is not on this machine."""
        return resolve_folder(self.card.get("base", ""), self.card.get("revision"))

    @property
    def model_folder(self) -> Path:
        """The folder with the config and tokenizer of the model: its own for a whole model, else the base's."""
        return self.folder if self.whole else self.base_folder

    @property
    def base_present(self) -> bool:
        """Whether the base model is on this machine."""
        return local_folder(self.card.get("base", ""), self.card.get("revision")) is not None

    @cached_property
    def model_config(self) -> dict:
        """config.json of `model_folder`."""
        return read_config(self.model_folder)

    @property
    def architecture(self) -> str:
        """The class of transformers that config.json names, such as "LlamaForCausalLM"."""
        return (self.model_config.get("architectures") or [""])[0]

    @cached_property
    def adapter_config(self) -> dict:
        """adapter_config.json; {} for a whole model."""
        return read_json_object(self.folder / "adapter_config.json")

    @cached_property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of the adapter's tensors. Raises StudioError if the file is missing or damaged."""
        try:
            found = read_header(self.folder / WEIGHTS)
        except (StudioError, OSError) as error:
            raise StudioError(
                "The weights of '{name}' ({file}) are missing or damaged; import or train it again.",
                name=self.name,
                file=WEIGHTS,
            ) from error
        return {name: tuple(item["shape"]) for name, item in found.items() if name != "__metadata__"}


def find_source(home: Home, store: Store, adapter_id: str) -> Source:
    """The adapter of the library with this id. Raises StudioError if it is not there any more."""
    folder, card, name = adapter_store.find(home, store, adapter_id)
    return Source(adapter_id, name, folder, card)

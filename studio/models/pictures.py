"""Pictures ↔ pixels for one base model: its image processor, read from the model's folder.

The trainer and the chat server use this one function, so what was measured is what the playground sees. It knows nothing about classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.words import StudioError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Processor:
    """A model folder's image processor."""

    def __init__(self, folder: str | Path):
        from transformers import AutoImageProcessor

        if not (Path(folder) / "preprocessor_config.json").exists():
            raise StudioError("The model in '{folder}' has no preprocessor_config.json, so nobody knows how it wants its pictures; choose a model that ships one.", folder=folder)
        self._processor = AutoImageProcessor.from_pretrained(str(folder), backend="pil", trust_remote_code=False, local_files_only=True)

    def pixels(self, picture: Image) -> torch.Tensor:
        """channels × height × width, as the model wants them. picture: in RGB, of any size."""
        return self._processor(picture, return_tensors="pt")["pixel_values"][0]
